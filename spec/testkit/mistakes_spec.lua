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
    local p = t.plugin(t.source [[
      return { name = "slip", version = "1.0.0", api = 1, stage = "guard",
               body_filter = function() return 5 end }]])
    assert.matches("something else than nothing", p:run { upstream = { 200, body = "x" } }.error, 1, true)
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
