-- Consumers in a whole gateway: who a request belongs to, in every phase, and whose plugins run.

local cjson = require("cjson")
local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")

local STEP = [[
  local S = require "tidegate.schema"
  local P = { name = "@NAME@", version = "1.0.0", api = 1, stage = "@STAGE@",
              schema = S.record { tag = S.string():default "-" } }
  function P.access(conf, ctx) ctx.upstream:add_header("x-order", "@NAME@:" .. conf.tag) end
  function P.header_filter(conf, ctx) ctx.resp:add_header("x-back", "@NAME@:" .. conf.tag) end
  return P
]]

local function step(name, stage)
  return (STEP:gsub("@(%u+)@", { NAME = name, STAGE = stage }))
end

-- Authenticates as the consumers that the header x-as names, one after the other.
local LOGIN = [[
  local tg = require "tidegate"
  local P = { name = "@NAME@", version = "1.0.0", api = 1, stage = "@STAGE@" }
  function P.access(_, ctx)
    for name in (ctx.req:header "@HEADER@" or ""):gmatch "[^, ]+" do
      ctx.consumer:authenticate(tg.consumers.get(name), { id = "by-name" })
    end
  end
  return P
]]

local function login(name, stage, header)
  return (LOGIN:gsub("@(%u+)@", { NAME = name, STAGE = stage, HEADER = header }))
end

local FILES = {
  ["auth.lua"] = login("auth", "auth", "x-as"), ["late.lua"] = login("late", "transform", "x-late"),
  ["guard.lua"] = step("guard", "guard"), ["traffic.lua"] = step("traffic", "traffic"),
  ["change.lua"] = step("change", "transform"),
}

-- The values of a header, in order, joined.
local function values(headers, name)
  local list = {}
  for _, header in ipairs(headers) do
    if header[1]:lower() == name then list[#list + 1] = header[2] end
  end
  return table.concat(list, " ")
end

describe("the plugins of a consumer", function()
  local g

  setup(function()
    g = gateway.start({
      files = FILES,
      config = [[
        local tg = require "tidegate"
        local function use(name, tag, options)
          return tg.use("./" .. name .. ".lua", options) { tag = tag }
        end
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.global { tg.use "./auth.lua" {} }
        tg.consumer "plain" {}
        tg.consumer "gold" { plugins = { use("traffic", "gold"), use("guard", "gold") },
                             routes = { special = { use("traffic", "gold-special") } } }
        tg.consumer "extra" { plugins = { use("traffic", "extra", { id = "extra" }) } }
        tg.consumer "only" { routes = { special = { use("change", "only-special") } } }
        tg.route "normal" { paths = { "/normal" }, service = "echo",
                            plugins = { use("traffic", "route"), use("change", "route") } }
        tg.route "special" { paths = { "/special" }, service = "echo", plugins = { use("traffic", "route") } }
        tg.route "late" { paths = { "/late" }, service = "echo",
                          plugins = { tg.use "./late.lua" {}, use("traffic", "route") } }
      ]],
    })
  end)

  teardown(function() g:stop() end)

  local function order(path, headers)
    local r = client.get(g.port, path, headers)
    assert.status(200, r)
    return values(cjson.decode(r.body).headers, "x-order")
  end

  it("do not run while nobody is known, nor for one that has none", function()
    assert.equal("traffic:route change:route", order("/normal", {}))
    assert.equal("traffic:route change:route", order("/normal", { ["x-as"] = "plain" }))
  end)

  it("stand where their stage is, in place of less specific ones", function()
    assert.equal("guard:gold traffic:gold change:route", order("/normal", { ["x-as"] = "gold" }))
  end)

  it("are those of the consumer on this route, where it has some", function()
    assert.equal("guard:gold traffic:gold-special", order("/special", { ["x-as"] = "gold" }))
    assert.equal("traffic:route change:only-special", order("/special", { ["x-as"] = "only" }))
    assert.equal("traffic:route change:route", order("/normal", { ["x-as"] = "only" }))
  end)

  it("run beside those of the route when their ids differ", function()
    assert.equal("traffic:route traffic:extra change:route", order("/normal", { ["x-as"] = "extra" }))
  end)

  it("are those of the last one that was authenticated", function()
    assert.equal("guard:gold traffic:gold change:route", order("/normal", { ["x-as"] = "extra, gold" }))
    assert.equal("traffic:route change:route", order("/normal", { ["x-as"] = "gold plain" }))
  end)

  it("run next where somebody is authenticated late, and nothing runs twice", function()
    assert.equal("traffic:route guard:gold traffic:gold", order("/late", { ["x-late"] = "gold" }))
    assert.equal("guard:gold traffic:gold", order("/late", { ["x-as"] = "gold", ["x-late"] = "gold" }))
  end)

  it("see the answer in the reverse order", function()
    local c = client.connect(g.port)
    c:send("GET /normal HTTP/1.1\r\nHost: a\r\nX-As: gold\r\nConnection: close\r\n\r\n")
    local r = c:response()
    assert.header("x-back", "change:route, traffic:gold, guard:gold", r)
  end)
end)

describe("a reload", function()
  local CONFIG = [[
    local tg = require "tidegate"
    tg.settings { workers = 2 }
    tg.listener "http" { address = "127.0.0.1:@PORT@" }
    tg.service "echo" { builtin = "echo" }
    tg.consumer "%s" { credentials = { key = tg.secret "env:%s" },
                       plugins = { tg.use "headers" { response = { set = { ["x-of"] = "%s" } } } } }
    tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "key-auth" {} } }
  ]]

  it("gives a key to somebody else, and takes one away", function()
    local g = gateway.start({ config = CONFIG:format("before", "K1", "before"),
                              env = { K1 = "first-key", K2 = "second-key" } })
    local function ask(key)
      local r = client.get(g.port, "/", { ["x-api-key"] = key })
      return r.status, r.headers["x-of"]
    end
    local open = client.connect(g.port)
    assert.same({ 200, "before" }, { ask("first-key") })
    assert.status(401, client.get(g.port, "/", { ["x-api-key"] = "second-key" }))
    assert.status(200, open:get("/", { ["x-api-key"] = "first-key" }))
    g:reload(CONFIG:format("after", "K1", "after"))
    clock.wait_until(function() return select(2, ask("first-key")) == "after" end, 5, "the new consumers")
    g:reload(CONFIG:format("third", "K2", "third"))
    clock.wait_until(function() return ask("second-key") == 200 end, 5, "the third ones")
    clock.wait_until(function() return ask("first-key") == 401 end, 5, "the end of the old key")
    g:stop()
  end)
end)

describe("ctx.consumer", function()
  local SHOW = [[
    local tg = require "tidegate"
    local P = { name = "show", version = "1.0.0", api = 1, stage = "traffic" }
    local kept
    local function text(c)
      return table.concat({ tostring(c.name), tostring(c.id), tostring(c.custom_id),
        table.concat(c.groups, "+"), table.concat(c.tags, "+"), tostring(c.metadata.plan),
        tostring(c:in_group "gold"), tostring(c:in_group "") }, " ")
    end
    function P.access(_, ctx)
      local as = ctx.req:header "x-key"
      local known = as and tg.consumers.by_credential("key", as)
      if known then ctx.state.known = text(known) end
      if known then ctx.consumer:authenticate(known) end
      ctx.state.access = text(ctx.consumer) .. " " .. tostring(ctx.consumer.credential)
      kept = known or kept
      if ctx.req.path == "/kept" then ctx:exit(200, kept and text(kept) or "nobody") end
      if ctx.req.path == "/again" then ctx.consumer:authenticate(kept) ctx:exit(200, ctx.consumer.id) end
    end
    function P.header_filter(_, ctx)
      ctx.resp:set_header("x-access", ctx.state.access):set_header("x-filter", text(ctx.consumer))
      ctx.resp:set_header("x-known", ctx.state.known or "-")
    end
    function P.log(_, ctx) ctx.log:warn("log: " .. text(ctx.consumer)) end
    return P
  ]]
  local CONFIG = [[
    local tg = require "tidegate"
    tg.settings { workers = 1 }
    tg.listener "http" { address = "127.0.0.1:@PORT@" }
    tg.service "echo" { builtin = "echo" }
    tg.consumer "acme" { id = "%s", custom_id = "47", groups = { "gold", "eu" }, tags = { "t" },
      metadata = { plan = "big" }, credentials = { key = { tg.secret "env:K1", tg.secret "env:K2" } } }
    tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./show.lua" {} } }
  ]]

  local function start(config)
    return gateway.start({ files = { ["show.lua"] = SHOW }, config = config,
                           env = { K1 = "first-key", K2 = "second-key" } })
  end

  it("is who was authenticated, in every phase from there on", function()
    local g = start(CONFIG:format("c-1"))
    local r = client.get(g.port, "/x", { ["x-key"] = "second-key" })
    local acme = "acme c-1 47 gold+eu t big true false"
    assert.header("x-known", acme, r)
    assert.header("x-access", acme .. " key:2", r)
    assert.header("x-filter", acme, r)
    g:wait_for_log("log: " .. acme)
    r = client.get(g.port, "/x", { ["x-key"] = "no-key" })
    assert.header("x-access", "nil nil nil   nil false false nil", r)
    assert.header("x-filter", "nil nil nil   nil false false", r)
    g:stop()
  end)

  it("may stand in headers and texts", function()
    local g = gateway.start({
      env = { K = "the-key" },
      config = [[
        local tg = require "tidegate"
        local text = "${consumer.name}|${consumer.id}|${consumer.custom_id}|${consumer.credential}"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.consumer "a+b" { custom_id = "4 7", credentials = { key = tg.secret "env:K" } }
        tg.consumer "guest" {}
        tg.global { tg.use "key-auth" { anonymous = "guest" },
                    tg.use "headers" { response = { set = { ["x-who"] = text } } } }
        tg.route "text" { paths = { "/text" }, plugins = { tg.use "respond" { body = text } } }
      ]],
    })
    local r = client.get(g.port, "/text", { ["x-api-key"] = "the-key" })
    assert.equal("a+b|a+b|4 7|key:1", r.body)
    assert.header("x-who", "a+b|a+b|4 7|key:1", r)
    assert.header("x-who", "guest|guest||", client.get(g.port, "/text"))
    assert.header("x-who", "|||", client.get(g.port, "/no-route"))
    g:stop()
  end)

  it("may be somebody whom a plugin found for another request", function()
    local g = start(CONFIG:format("c-1"))
    assert.equal("nobody", client.get(g.port, "/kept").body)
    assert.status(200, client.get(g.port, "/x", { ["x-key"] = "first-key" }))
    assert.equal("acme c-1 47 gold+eu t big true false", client.get(g.port, "/kept").body)
    assert.equal("c-1", client.get(g.port, "/again").body)
    g:stop()
  end)

  for what, case in pairs({
    ["somebody that is no consumer"] = { 'ctx.consumer:authenticate("acme")',
      "ctx.consumer:authenticate(): argument 1 (consumer): expected a consumer that tg.consumers found" },
    ["nobody"] = { 'ctx.consumer:authenticate(tg.consumers.get "nobody")',
      "expected a consumer that tg.consumers found" },
    ["a credential that is none"] = { 'ctx.consumer:authenticate(tg.consumers.get "acme", { name = "x" })',
      'argument 2 (credential): expected { id = "..." }' },
    ["a kind that there is not"] = { 'tg.consumers.by_credential("kee", "x")',
      'tg.consumers.by_credential(): argument 1 (kind): no kind of credential; there are "key", "subject"' },
    ["a write"] = { 'tg.consumers.get("acme").name = "x"', "consumer cannot be written to" },
  }) do
    it("says what is wrong with " .. what, function()
      local g = gateway.start({
        files = { ["bad.lua"] = ([[
          local tg = require "tidegate"
          local P = { name = "bad", version = "1.0.0", api = 1, stage = "auth" }
          function P.access(_, ctx)
            local _, why = pcall(function() @CASE@ end)
            ctx:exit(200, tostring(why))
          end
          return P
        ]]):gsub("@CASE@", case[1]) },
        config = [[
          local tg = require "tidegate"
          tg.listener "http" { address = "127.0.0.1:@PORT@" }
          tg.consumer "acme" {}
          tg.route "all" { plugins = { tg.use "./bad.lua" {} } }
        ]],
      })
      assert.contains(case[2], client.get(g.port, "/").body)
      g:stop()
    end)
  end

  it("is not there to be set after access", function()
    local g = gateway.start({
      files = { ["bad.lua"] = [[
        local tg = require "tidegate"
        local P = { name = "bad", version = "1.0.0", api = 1, stage = "traffic" }
        function P.header_filter(_, ctx)
          local _, why = pcall(function() ctx.consumer:authenticate(tg.consumers.get "acme") end)
          ctx.resp:set_header("x-why", (why:gsub("%c.*", "")))
        end
        return P
      ]] },
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.consumer "acme" {}
        tg.route "all" { service = "echo", plugins = { tg.use "./bad.lua" {} } }
      ]],
    })
    local r = client.get(g.port, "/")
    assert.contains("ctx.consumer:authenticate() is not available in header_filter", r.headers["x-why"])
    g:stop()
  end)
end)

describe("many consumers", function()
  it("have their keys in one large file", function()
    local lines = {}
    for i = 1, 5000 do lines[i] = ("customer-%d=%064d\n"):format(i, i) end
    local g = gateway.start({
      files = { ["keys"] = table.concat(lines) },
      config = [[
        local tg = require "tidegate"
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        for i = 1, 5000 do
          local name = "customer-" .. i
          tg.consumer(name) { credentials = { key = tg.secret("file:keys", name) } }
        end
        tg.route "all" { service = "echo", plugins = { tg.use "key-auth" {} } }
      ]],
    })
    local c = client.connect(g.port)
    c:send(("GET / HTTP/1.1\r\nHost: a\r\nx-api-key: %064d\r\n\r\n"):format(4711))
    assert.contains('["x-consumer-name","customer-4711"]', c:response().body)
    g:stop()
  end)
end)
