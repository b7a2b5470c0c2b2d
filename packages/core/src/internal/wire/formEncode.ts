/** @internal RFC 6749 appendix B: application/x-www-form-urlencoded over UTF-8. */
export const formEncode = (value: string): string => new URLSearchParams({ "": value }).toString().slice(1)
