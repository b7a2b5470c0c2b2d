/** What the API offers, and to whom. Server and clients share it; it says nothing of tokens. */
import { Refusal, ResourceServer } from "@effect-oauth/core"
import { HttpApi, HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware } from "@effect/platform"
import { Schema } from "effect"

export class Invoice extends Schema.Class<Invoice>("Invoice")({
  number: Schema.String,
  amount: Schema.Number
}) {}

export class Salary extends Schema.Class<Salary>("Salary")({
  name: Schema.String,
  amount: Schema.Number
}) {}

const guard = { provides: ResourceServer.Caller, failure: Refusal.Refusal }

/** Those who may read invoices. */
export class InvoiceReader extends HttpApiMiddleware.Tag<InvoiceReader>()("InvoiceReader", guard) {}

/** Those who may see salaries, and have signed in with more than a password. */
export class SalaryReader extends HttpApiMiddleware.Tag<SalaryReader>()("SalaryReader", guard) {}

const invoices = HttpApiGroup.make("invoices")
  .add(HttpApiEndpoint.get("list", "/invoices").addSuccess(Schema.Array(Invoice)))
  .add(HttpApiEndpoint.del("remove", "/invoices").addSuccess(Schema.Void))
  .middleware(InvoiceReader)

const salaries = HttpApiGroup.make("salaries")
  .add(HttpApiEndpoint.get("list", "/salaries").addSuccess(Schema.Array(Salary)))
  .middleware(SalaryReader)

export const Company = HttpApi.make("company").add(invoices).add(salaries)
