-- Phases that are not entered: edits that stand in for one, and conditions of the plugin's own.

local t = require "tidegate.test"

local HEAD = [[
local tg = require "tidegate"
local P = { name = "p", version = "1.0.0", api = 1, stage = "transform" }
]]

describe("prepared edits", function()
  before_each(t.reset)

  -- A plugin whose functions mark what they touched, beside what configure prepares.
  local function plugin(configure, rest, options)
    return t.plugin(t.source(HEAD .. [[
      function P.configure() ]] .. configure .. [[ end
      function P.access(_, ctx) ctx.upstream:set_header("x-by", "lua") end
      function P.header_filter(_, ctx) ctx.resp:set_header("x-by", "lua") end
    ]] .. (rest or "") .. "\nreturn P"), {}, options)
  end

  it("are the phase, and the function is not called", function()
    local p = plugin([[
      tg.edits { set = { ["x-by"] = "edits" }, remove = { "x-old" } }:instead_of "access"
    ]])
    local r = p:run { path = "/", headers = { ["x-old"] = "1" } }
    assert.request(r.upstream).has.header("x-by", "edits")
    assert.request(r.upstream).has.no.header("x-old")
    assert.equal("lua", r.headers["x-by"]) -- the other phase is Lua's
  end)

  it("take the first condition that holds, else the function", function()
    local p = plugin([[
      local function says(who) return tg.edits { set = { ["x-by"] = who } } end
      says "post":instead_of("header_filter", 'method == "POST"')
      says "first":instead_of("header_filter", 'query.n == "1"')
      says "second":instead_of("header_filter", "query.n")
    ]])
    local function by(request) return p:run(request).headers["x-by"] end
    assert.equal("post", by { method = "POST", path = "/?n=1" })
    assert.equal("first", by { path = "/?n=1" })
    assert.equal("second", by { path = "/?n=2" })
    assert.equal("lua", by { path = "/" })
  end)

  it("render templates, with values that fit into a header", function()
    local p = plugin([[
      local function template(text) return tg.template(text, "header") end
      tg.edits {
        set = { ["x-id"] = template "${id}", ["x-q"] = template "<${query.q}> " },
        add = { ["x-none"] = template "${header.absent}" },
      }:instead_of "access"
    ]])
    local r = p:run { path = "/?q=a%0d%0aX:%20b" }
    assert.matches("^%x+$", r.upstream.headers["x-id"])
    assert.equal("<a%0D%0AX: b>", r.upstream.headers["x-q"])
    assert.equal("", r.upstream.headers["x-none"])
  end)

  it("leave out what would be filled with nothing", function()
    local p = plugin([[
      local function template(text) return tg.template(text, "header") end
      tg.edits {
        remove = { "x-q" },
        fill = { ["x-q"] = template "${query.q}", ["x-none"] = template "${header.absent}",
                 ["x-fixed"] = "1" },
      }:instead_of "access"
    ]])
    local r = p:run { path = "/?q=a", headers = { ["x-q"] = "mine" } }
    assert.equal("a", r.upstream.headers["x-q"])
    assert.equal("1", r.upstream.headers["x-fixed"])
    assert.request(r.upstream).has.no.header("x-none")
    assert.request(p:run({ headers = { ["x-q"] = "mine" } }).upstream).has.no.header("x-q")
  end)

  it("are for those whom they recognise, and the function is for the others", function()
    local p = plugin([[
      tg.edits { fill = { ["x-by"] = tg.template("${consumer.name}", "header") } }
        :instead_of("access", 'method == "GET"', { kind = "key", header = "X-Key" })
    ]], nil, { consumers = { acme = { credentials = { key = "k1", subject = "s1" } } } })
    local function by(request)
      local r = p:run(request)
      return r.upstream.headers["x-by"], r.consumer.name, r.consumer.credential
    end
    assert.same({ "acme", "acme", "key:1" }, { by { headers = { ["x-key"] = "k1" } } })
    assert.same({ "lua" }, { by { headers = { ["x-key"] = "s1" } } })
    assert.same({ "lua" }, { by { headers = { ["x-key"] = "" } } })
    assert.same({ "lua" }, { by {} })
    assert.same({ "lua" }, { by { method = "POST", headers = { ["x-key"] = "k1" } } })
  end)

  it("recognise what stands behind a scheme", function()
    local p = plugin([[
      tg.edits { fill = { ["x-by"] = tg.template("${consumer.name}", "header") } }
        :instead_of("access", nil, { kind = "key", header = "authorization", scheme = "Bearer" })
    ]], nil, { consumers = { acme = { credentials = { key = "k1" } } } })
    for value, by in pairs {
      ["Bearer k1"] = "acme", ["bEARER   k1"] = "acme", ["Bearer k2"] = "lua", ["Bearer"] = "lua",
      ["Bearer "] = "lua", ["Bearerk1"] = "lua", ["Basic k1"] = "lua", ["k1"] = "lua",
      ["Bearer \tk1"] = "lua",
    } do
      local r = p:run { headers = { authorization = value } }
      assert.equal(by, r.upstream.headers["x-by"], value)
    end
  end)

  it("apply to every instance as it was configured", function()
    local gw = t.gateway("gateway.lua", { files = {
      ["gateway.lua"] = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:0" }
        tg.service "back" { targets = { { "127.0.0.1:9" } } }
        for _, name in ipairs { "a", "b" } do
          local plugins = { tg.use "./p.lua" { is = name } }
          tg.route(name) { paths = { "/" .. name }, service = "back", plugins = plugins }
        end
      ]],
      ["p.lua"] = [[
        local S = require "tidegate.schema"
      ]] .. HEAD .. [[
        P.schema = S.record { is = S.string() }
        function P.configure(conf) tg.edits { set = { ["x-is"] = conf.is } }:instead_of "header_filter" end
        function P.header_filter() end
        return P
      ]],
    } })
    gw:upstream("back", { 200 })
    assert.equal("a", gw:get("/a").headers["x-is"])
    assert.equal("b", gw:get("/b").headers["x-is"])
    assert.same({ "p" }, gw:get("/a").trace:plugins()) -- it had its say, entered or not
    gw:close()
  end)

  it("say what was misused", function()
    local function why(configure, rest)
      local ok, message = pcall(plugin, configure, rest)
      assert.is_false(ok)
      return tostring(message)
    end
    local edits = "local e = tg.edits {} "
    local early = "function P.init() tg.edits {}:instead_of 'access' end"
    assert.matches('edits can be "access" or "header_filter"', why(edits .. "e:instead_of 'log'"), 1, true)
    assert.matches("argument 2 (when):", why(edits .. "e:instead_of('access', 'method ==')"), 1, true)
    assert.matches("has no function for that", why(edits .. "e:instead_of 'access'", "P.access = nil"), 1,
                   true)
    assert.matches("16 conditions", why(edits .. "for _ = 1, 17 do e:instead_of 'access' end"), 1, true)
    assert.matches("a template made with escape", why("tg.edits { set = { a = tg.template 'x' } }"), 1, true)
    assert.matches("is for configure", why("", early), 1, true)
    local by = edits .. "e:instead_of('%s', nil, %s)"
    assert.matches("argument 3 (by): kind: no kind", why(by:format("access", "{ kind = 'kee' }")), 1, true)
    assert.matches("header: expected the name", why(by:format("access", "{ kind = 'key' }")), 1, true)
    by = by:format("header_filter", "{ kind = 'key', header = 'a' }")
    assert.matches("recognised in access", why(by), 1, true)
  end)
end)

describe("a plugin's own conditions", function()
  before_each(t.reset)

  it("keep a phase to the requests that it is for", function()
    local p = t.plugin(t.source(HEAD .. [[
      P.when = { access = 'method == "POST" and header["x-a"]' }
      function P.access(_, ctx) ctx.upstream:set_header("x-ran", "1") end
      function P.header_filter(_, ctx) ctx.resp:set_header("x-ran", "1") end
      return P
    ]]), {})
    local skipped = p:run { method = "POST", path = "/" }
    assert.request(skipped.upstream).has.no.header("x-ran")
    assert.equal("1", skipped.headers["x-ran"])
    local ran = p:run { method = "POST", path = "/", headers = { ["x-a"] = "1" } }
    assert.request(ran.upstream).has.header("x-ran", "1")
  end)

  it("are checked with the plugin", function()
    local function problem(when)
      local text = HEAD .. "P.when = " .. when .. "\nfunction P.access() end return P"
      local ok, errors = t.check_conf(t.source(text), {})
      assert.is_nil(ok)
      return errors[1].text
    end
    assert.matches("is not an expression", problem "{ access = 'method ==' }", 1, true)
    assert.matches("the plugin has no function log", problem "{ log = 'method' }", 1, true)
    assert.matches("unknown field", problem "{ acces = 'method' }", 1, true)
  end)
end)
