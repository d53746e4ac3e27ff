--- Slips that authors of plugins make: what the message says, and that errors of the API can be read.

local t = require "tidegate.test"

-- A plugin whose access phase is `text`.
local function plugin(text)
  return t.plugin(t.source(([[
local tg = require "tidegate"
local P = { name = "slip", version = "1.0.0", api = 1, stage = "guard", needs = { http = true } }
function P.access(conf, ctx)
  %s
end
return P]]):format(text)))
end

describe("a slip in a plugin is told:", function()
  before_each(function() t.reset() end)

  for _, case in ipairs {
    { "a method", 'ctx.req:haeder "x"', 'ctx.req has no field or method "haeder"; did you mean "header"?' },
    { "a name of another gateway's API", "return ctx.request",
      'ctx has no field or method "request"; did you mean "req"?' },
    { "a library", 'tg.htpp.get("keys", "/")', 'tg has no function "htpp"; did you mean "http"?' },
    { "a function of a library", 'tg.json.parse "1"',
      'tg.json has no function "parse"; `tidegate doc tg.json` tells what it has' },
    { "a word of another gateway", "return ctx.req.uri",
      'ctx.req has no field or method "uri"; ctx.req.path is the path, ctx.req.query_string the query' },
    { "a word that begins with get_", 'ctx.req:get_header "x"',
      'ctx.req has no field or method "get_header"; did you mean "header"?' },
    { "what another object has", 'ctx.req:set_header("x", "y")',
      'ctx.req has no field or method "set_header"; there is one in ctx.upstream and ctx.resp' },
    { "an assignment that a method makes", "ctx.resp.status = 204",
      "ctx.resp cannot be written to; call ctx.resp:set_status()" },
    { "an assignment to what the client sent", 'ctx.req.path = "/"',
      "ctx.req cannot be written to; ctx.upstream:set_path() changes what the origin gets" },
    { "an assignment to anything else", 'ctx.req["%s%n"] = 1',
      "ctx.req cannot be written to; values of a request belong into ctx.state" },
    { "a name that is none", 'return ctx.req["%s%n" .. ("x"):rep(300)]',
      'ctx.req has no field or method "%s%nxxx' },
    { "an index of a function", 'return ctx.req.headers["x"]',
      "attempt to index field 'headers' (a function value): write () behind its name, to call it" },
    { "a length", 'ctx.upstream:set_header("Content-Length", "1")',
      "Content-Length belongs to the gateway, which counts what body filters and set_body() make of a " ..
      "body; leave it alone" },
    { "a service to go to", 'ctx:set_service "keys"', 'no service is called "keys"' },
    { "a header of tg.http", 'tg.http.get("upstream", "/", { headers = { host = "x" } })',
      'headers: "host" belongs to the gateway, as Host (the service\'s), Expect and framing do' },
    { "a network", 'tg.ip.set { "10.0.0.0/8", "10.0.0.300" }', "network 2 (10.0.0.300): expected text" },
    { "a network that is no text", "tg.ip.set { {} }", "network 1 (table): expected text" },
    { "an error of the API that is raised", 'assert(tg.json.decode "{")',
      "not valid JSON at byte 2: expected a name in quotes (bad_input)" },
    { "a service", 'tg.http.get("keys", "/")',
      'tg.http.get(): argument 1 (service): no service is called "keys"; the configuration declares them ' ..
      "by tg.service" },
    { "a URL", 'tg.http.get("https://keys.example.test", "/")',
      'tg.http.get(): argument 1 (service): "https://keys.example.test" is a URL; declare a tg.service ' ..
      "in the configuration, and name it here" },
    { "an option of a cookie", 'ctx.resp:set_cookie("a", "b", { httponly = true })',
      "ctx.resp:set_cookie(): argument 3 (options): there is no option httponly; there are path, domain, " ..
      "max_age, secure, http_only, same_site and partitioned" },
    { "an option of a cookie without a name", 'ctx.resp:set_cookie("a", "b", { "secure" })',
      "there is no option " },
    { "an error that is joined to a table", 'return select(2, tg.json.decode "{") .. {}',
      "attempt to concatenate a table value" },
  } do
    it(case[1], function()
      local r = plugin(case[2]):run()
      assert.response(r).has.status(500)
      assert.matches(case[3], r.error, 1, true)
      assert.matches(":4: ", r.error, 1, true)
    end)
  end

  it("what body_filter returns", function()
    for value, text in pairs { ["5"] = "a number", ["false"] = "a boolean",
                               ["print"] = "neither text nor a table",
                               ["{ a = 1 }"] = "a table with names (tg.json.encode() makes text of it)" } do
      local p = t.plugin(t.source(('return { name = "slip", version = "1.0.0", api = 1, stage = "guard", ' ..
                                   "body_filter = function() return %s end }"):format(value)))
      assert.matches("body_filter returned " .. text .. "; it returns nothing (the chunk passes), a string",
                     p:run { upstream = { 200, body = "x" } }.error, 1, true)
    end
  end)

  it("and an empty list takes the chunk away", function()
    local p = t.plugin(t.source [[
      return { name = "slip", version = "1.0.0", api = 1, stage = "guard",
               body_filter = function(_, _, chunk) return ({ x = {}, w = { "y", "z" } })[chunk] end }]])
    assert.response(p:run { upstream = { 200, body = "x" } }).has.body ""
    assert.response(p:run { upstream = { 200, body = "w" } }).has.body "yz"
  end)
end)

describe("an error of the API", function()
  before_each(function() t.reset() end)

  it("reads as text where text is wanted", function()
    local r = plugin([[
      local _, err = tg.json.decode "{"
      local joined = "no: " .. err .. " / " .. err .. "\n" .. 7 .. err
      ctx:exit(400, tostring(err) .. "\n" .. joined .. "\n" .. err.code)]]):run()
    local text = "not valid JSON at byte 2: expected a name in quotes (bad_input)"
    assert.response(r).has.body(text .. "\nno: " .. text .. " / " .. text .. "\n7" .. text .. "\nbad_input")
  end)

  it("is plain data all the same", function()
    local r = plugin([[
      local _, err = tg.json.decode "{"
      assert(getmetatable(err) == false and not pcall(setmetatable, err, {}))
      err.message = nil
      ctx:exit(400, { text = tostring(err), json = tg.json.encode(err) })]]):run()
    assert.response(r).has.json { text = "failed (bad_input)", json = '{"code":"bad_input"}' }
  end)

  it("is joined to another error", function()
    local r = plugin([[
      local _, a = tg.json.decode "{"
      local _, b = tg.time.parse "never"
      ctx:exit(400, a .. b)]]):run()
    assert.matches("(bad_input)", r.body, 1, true)
    assert.matches("%(bad_input%).+%(%w+", r.body)
  end)
end)
