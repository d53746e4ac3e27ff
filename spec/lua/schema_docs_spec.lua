-- JSON Schema and Markdown made from a schema.

local S = require "tidegate.schema"
local docs = require "tidegate.schema_docs"

local schema = S.record {
  limit = S.int { min = 1 }:doc "requests | period",
  per = S.duration():default "1s",
  keys = S.list(S.record { name = S.header_name(), hide = S.bool():default(false) }, { max = 4 }):optional(),
  token = S.secret():optional():example "never shown",
  mode = S.one_of { auto = S.enum { "auto" }, count = S.int() }:default "auto",
}

describe("JSON Schema", function()
  local json = docs.json_schema(schema)

  it("is closed and requires what has no default", function()
    assert.equal(false, json.additionalProperties)
    assert.same({ "limit" }, json.required)
    assert.equal("https://json-schema.org/draft/2020-12/schema", json["$schema"])
  end)

  it("says what each field takes", function()
    local properties = json.properties
    assert.same({ type = "integer", minimum = 1, description = "requests | period" }, properties.limit)
    assert.same({ "array", 4, "object", { "name" } }, { properties.keys.type, properties.keys.maxItems,
                properties.keys.items.type, properties.keys.items.required })
    assert.same({ { type = "string", enum = { "auto" } }, { type = "integer" } }, properties.mode.anyOf)
  end)

  it("shows nothing of a secret", function()
    assert.same({ type = "string", writeOnly = true }, json.properties.token)
  end)
end)

it("Markdown has a row for each field, nested ones too", function()
  assert.equal([[
| field | takes | | meaning |
|---|---|---|---|
| `keys` | list of table | optional |  |
| `keys[].hide` | true or false, default false |  |  |
| `keys[].name` | header name | required |  |
| `limit` | integer at least 1 | required | requests \| period |
| `mode` | "auto" or an integer, default "auto" |  |  |
| `per` | duration, default "1s" |  |  |
| `token` | secret | optional |  |
]], docs.markdown(schema))
end)

it("Markdown has one row for positions that take the same", function()
  local share = S.record { [1] = S.string() }
  local t = S.record { [1] = share, [2] = share:optional(), [3] = share:optional(), [4] = S.int() }
  assert.equal([[
| field | takes | | meaning |
|---|---|---|---|
| `[1]` | table | required |  |
| `[1][1]` | string | required |  |
| `[2–3]` | table | optional |  |
| `[2–3][1]` | string | required |  |
| `[4]` | integer | required |  |
]], docs.markdown(t))
end)
