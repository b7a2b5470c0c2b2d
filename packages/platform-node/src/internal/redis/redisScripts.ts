/**
 * What has to be one step at Redis. The keys of one script have the same hash tag, so that they are on one node of a cluster.
 */
import { createHash } from "node:crypto"

/** @internal */
export interface Script {
  readonly lua: string
  readonly sha: string
  readonly keys: number
}

const script = (keys: number, lua: string): Script => ({
  lua,
  keys,
  sha: createHash("sha1").update(lua).digest("hex")
})

// An error of a script does not undo what it has written. So what may be refused for want of memory is the first write,
// and a message that may not be published is an error that the caller gets to see.
const publish = (channel: number, message: number): string => `
local told = redis.pcall('PUBLISH', ARGV[${channel}], ARGV[${message}])
if type(told) == 'table' and told.err then return told end`

/**
 * @internal KEYS: entry. ARGV: `any`, `absent` or `same`; version; fence or empty; value; new version; tags; milliseconds;
 * channel; message. Nothing if a condition does not hold, else version and tags of the entry before, empty if there was none.
 * A client may send it twice when the first answer was lost: the second one finds what it has written.
 */
export const set = script(
  1,
  `
local kind = redis.call('TYPE', KEYS[1]).ok
local old = kind == 'hash' and redis.call('HMGET', KEYS[1], 'version', 'value', 'fence', 'tags') or {}
local version = old[2] and old[1]
if version == ARGV[5] then return { '', '' } end
if ARGV[1] == 'absent' and version then return false end
if ARGV[1] == 'same' and version ~= ARGV[2] then return false end
local held = version and tonumber(old[3]) and old[3] or '0'
local fence = ARGV[3] ~= '' and ARGV[3] or held
if tonumber(fence) < tonumber(held) then return false end
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
redis.call('HSET', KEYS[1], 'version', ARGV[5], 'value', ARGV[4], 'fence', fence, 'tags', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
${publish(8, 9)}
return { version or '', version and old[4] or '' }
`
)

/**
 * @internal KEYS: entry. ARGV: `any` or `same`; version; channel; message. Nothing if it was not there, else its version and
 * tags.
 */
export const remove = script(
  1,
  `
local kind = redis.call('TYPE', KEYS[1]).ok
local old = kind == 'hash' and redis.call('HMGET', KEYS[1], 'version', 'value', 'tags') or {}
local version = old[2] and old[1]
if version and ARGV[1] == 'same' and version ~= ARGV[2] then return false end
if kind ~= 'none' then redis.call('DEL', KEYS[1]) end
if not version and ARGV[1] == 'same' then return false end
${publish(3, 4)}
if not version then return false end
return { version, old[3] or '' }
`
)

/**
 * @internal KEYS: sorted set of a tag. ARGV: member, milliseconds. Scores are when the entries end, so the set knows what it
 * can forget, a hundred with each write, and when it can go itself.
 */
export const index = script(
  1,
  `
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), ARGV[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 100)
if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', tonumber(last[2])))
return 1
`
)

/**
 * @internal KEYS: sorted set of a tag, mark of a removal. ARGV: member. While a removal runs, every member stays: one of an
 * entry that is written again would leave before the removal has come to it, and the new one could be behind it already.
 */
export const forget = script(
  2,
  `
if redis.pcall('GET', KEYS[2]) then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
`
)

/** @internal KEYS: sorted set of a tag. ARGV: member of an entry that a removal has removed. */
export const drop = script(1, "return redis.call('ZREM', KEYS[1], ARGV[1])")

/** How many members one step of a removal reads; those that end in the same millisecond as the last of them come on top. */
const stepSize = 200

/** Longer than one step of a removal takes. */
const markMillis = 10_000

/**
 * @internal KEYS: sorted set of a tag, mark of a removal. ARGV: where to go on, mark as of the step before, a new mark. The
 * mark, where to go on (empty at the end), and members. In the order of their scores, which is the same on every replica. If
 * the mark was gone meanwhile, members may have left: it begins anew.
 */
export const members = script(
  2,
  `
local mark = redis.pcall('GET', KEYS[2])
if type(mark) ~= 'string' then mark = ARGV[3] end
local from = mark == ARGV[2] and ARGV[1] or '-inf'
redis.call('SET', KEYS[2], mark, 'PX', ${markMillis})
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then return { mark, '', {} } end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', 0, ${stepSize})
local last = found[#found]
local members = {}
for i = 1, #found, 2 do
  if found[i + 1] ~= last then table.insert(members, found[i]) end
end
if last then
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], last, last)) do table.insert(members, member) end
end
return { mark, #found == ${2 * stepSize} and '(' .. last or '', members }
`
)

/**
 * @internal KEYS: entry. ARGV: version, tag. Removes the entry if it has this version or, written again meanwhile, this tag.
 * Nothing if it has neither, else its version and tags.
 */
export const removeTagged = script(
  1,
  `
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return false end
local old = redis.call('HMGET', KEYS[1], 'version', 'value', 'tags')
if not (old[1] and old[2]) then return false end
local has = old[1] == ARGV[1]
if not has then
  local read, tags = pcall(cjson.decode, old[3])
  if read and type(tags) == 'table' then
    for _, tag in ipairs(tags) do has = has or tag == ARGV[2] end
  end
end
if not has then return false end
redis.call('DEL', KEYS[1])
return { old[1], old[3] or '' }
`
)

/**
 * @internal KEYS: lock, last fence, entry. ARGV: holder, milliseconds of the lease, milliseconds to remember the fence. The
 * fence, or nothing. It is the time in microseconds, so that it rises also over what Redis has forgotten, and higher than the
 * last one and the entry's, so that it rises over a clock that was put back. Its holder gets it again.
 */
export const lock = script(
  3,
  `
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return false end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local time = redis.call('TIME')
local fence = time[1] * 1000000 + time[2]
local function above(found)
  local number = type(found) == 'string' and tonumber(found)
  if number and number >= fence and number < 9007199254740991 then fence = number + 1 end
end
above(redis.pcall('GET', KEYS[2]))
above(redis.pcall('HGET', KEYS[3], 'fence'))
redis.call('SET', KEYS[2], string.format('%.0f', fence), 'PX', ARGV[3])
return fence
`
)

/** @internal KEYS: lock. ARGV: holder, milliseconds. 1 if it has the lock. */
export const extend = script(
  1,
  `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`
)

/** @internal KEYS: lock. ARGV: holder. */
export const unlock = script(
  1,
  `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`
)
