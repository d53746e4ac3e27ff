-- Plugins in the way of a request: phases in order, waiting, failing, being killed, filtering bodies.
-- Each spec starts a gateway whose config uses a plugin file written for it.

local client = require("support.client")
local gateway = require("support.gateway")
local http = require("support.http")
local origin = require("support.origin")
local variant = require("support.variant")

local spinning = variant.interrupts and it or pending

local HEAD = [[
local tg = require "tidegate"
local P = { name = "%s", version = "1.0.0", api = 1, stage = "transform"%s }
]]

local function plugin(body, name, extra)
  return HEAD:format(name or "probe", extra or "") .. body .. "\nreturn P\n"
end

describe("plugins", function()
  local g

  -- Starts a gateway whose route uses the plugin; it is stopped, and its end asserted, with the spec.
  local function start(body, options)
    options = options or {}
    g = gateway.start({
      vars = { ORIGIN = options.origin and options.origin.port or 1, USE = options.use or "{}" },
      files = { ["probe.lua"] = plugin(body), ["other.lua"] = options.other },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, limits = {
          plugin = { cpu = "5s", wall = "1m" }, plugin_vm = { pause = "1m" } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
        tg.route "all" {
          paths = { "/*" }, service = "]] .. (options.origin and "back" or "echo") .. [[",
          plugins = { tg.use("./probe.lua", @USE@) {} ]] ..
            (options.other and ', tg.use "./other.lua" {}' or "") .. [[ },
        }
      ]],
    })
    local started = g
    finally(function() started:stop() end)
  end

  it("run their phases in order and share ctx.state", function()
    start([[
      local function note(phase)
        P[phase] = function(_, ctx)
          ctx.state.seen = (ctx.state.seen or "") .. ctx.phase .. " "
          if phase == "header_filter" then ctx.resp:set_header("x-seen", ctx.state.seen) end
        end
      end
      note "access"; note "header_filter"; note "log"
    ]])
    local response = client.get(g.port, "/")
    assert.status(200, response)
    assert.equal("access header_filter", response.headers["x-seen"])
  end)

  it("wait in every phase while other requests go on", function()
    start([[
      for _, phase in ipairs { "access", "header_filter", "body_filter" } do
        P[phase] = function(_, ctx)
          if ctx.req.path == "/slow" then ctx:sleep "30ms" end
        end
      end
    ]])
    local slow, fast = client.connect(g.port), client.connect(g.port)
    slow:send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.status(200, fast:get("/fast"))
    assert.status(200, slow:response())
  end)

  it("read the body as text, JSON and form, and the origin still gets it", function()
    start([[
      function P.access(_, ctx)
        local kind = ctx.req:query "as"
        local value = kind == "json" and ctx.req:json() or kind == "form" and ctx.req:form() or ctx.req:body()
        ctx.upstream:set_header("x-got", type(value) == "table" and value.a or value)
      end
    ]])
    local c = client.connect(g.port)
    for kind, body in pairs { json = '{"a":"one"}', form = "b=2&a=one", text = "one" } do
      local response = c:post("/?as=" .. kind, { body })
      assert.status(200, response)
      assert.contains('["x-got","one"]', response.body)
      assert.contains('"body_bytes":' .. #body, response.body)
    end
  end)

  it("get an error instead of a body that is too large", function()
    start([[
      function P.access(_, ctx)
        local body, err = ctx.req:body { max = 4 }
        ctx:exit(200, tostring(body) .. " " .. err.code)
      end
    ]])
    assert.equal("nil too_large", client.request(g.port, { method = "POST", body = "12345" }).body)
    assert.equal("nil too_large", client.request(g.port, { method = "POST", body = { "123", "45" } }).body)
  end)

  it("rewrite what goes to the origin", function()
    local o = origin.listen()
    start([[
      function P.access(_, ctx)
        ctx.upstream:set_method("PUT"):set_path("/new"):set_query({ a = "1 2" }):set_body({ ok = true })
          :set_header("X-A", "1"):add_header("x-a", "2"):remove_header("User-Agent")
        ctx.resp:set_header("x-early", "yes")
      end
      function P.log(_, ctx)
        ctx.log:info("done", { status = ctx.upstream.status, sent = ctx.resp.bytes_sent })
      end
    ]], { origin = o })
    local c = client.connect(g.port)
    c:send("GET /old HTTP/1.1\r\nHost: a\r\nUser-Agent: spec\r\n\r\n")
    local conn = o:accept()
    local request = conn:request()
    assert.equal("PUT", request.method)
    assert.equal("/new?a=1%202", request.target)
    assert.equal('{"ok":true}', request.body)
    assert.equal("1, 2", request.headers["x-a"])
    assert.is_nil(request.headers["user-agent"])
    conn:reply({ status = 201, body = "made" })
    local response = c:response()
    assert.status(201, response)
    assert.equal("yes", response.headers["x-early"])
    g:wait_for_log("status=201")
  end)

  it("answer 500 when they raise, and the log says where", function()
    start([[
      function P.access(_, ctx)
        local t = nil
        return t.field
      end
    ]])
    local response = client.get(g.port, "/")
    assert.status(500, response)
    assert.equal("application/problem+json", response.headers["content-type"])
    assert.contains("plugin_error", response.body)
    assert.is_nil(response.body:find("probe", 1, true))
    g:wait_for_log("plugin=probe phase=access")
    g:wait_for_log("probe.lua:5")
    assert.status(500, client.get(g.port, "/"))
  end)

  it("are told, once for each phase, that what they return is ignored", function()
    start([[
      function P.access(_, ctx)
        if ctx.req.path == "/object" then return ctx.upstream:set_header("x-a", "1") end
        if ctx.req.path == "/error" then return nil, "no" end
        if ctx.req.path == "/status" then return 403 end
      end
      function P.header_filter() return nil end
      function P.body_filter(_, _, chunk) return chunk end
      function P.log() return 1 end
    ]])
    local function warnings()
      local _, count = g:stderr():gsub("what the phase returned is ignored", "%0")
      return count
    end
    assert.status(200, client.get(g.port, "/object"))
    assert.status(200, client.get(g.port, "/error"))
    g:wait_for_log('plugin=probe phase=access use=')
    assert.status(200, client.get(g.port, "/status"))
    g:stop()
    assert.equal(1, warnings())
    assert.matches("returned is ignored, [^\n]*ctx:exit%(%) answers[^\n]*gateway.lua:%d+", g:stderr())
  end)

  it("that fail are skipped when on_error says so", function()
    start("function P.access() error 'no' end", { use = '{ on_error = "skip" }' })
    assert.status(200, client.get(g.port, "/"))
  end)

  it("that fail close the connection when on_error says so", function()
    start("function P.access() error 'no' end", { use = '{ on_error = "close" }' })
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("", (c:receive_rest()))
  end)

  it("that fail in header_filter replace the answer", function()
    start("function P.header_filter() error 'no' end")
    assert.status(500, client.get(g.port, "/"))
  end)

  spinning("that loop are preempted for others, then killed", function()
    start([[
      function P.access(_, ctx)
        if ctx.req.path == "/loop" then while true do end end
      end
    ]], { use = '{ limits = { cpu = "10ms" } }' })
    local slow, fast = client.connect(g.port), client.connect(g.port)
    slow:send("GET /loop HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.status(200, fast:get("/"))
    local response = slow:response()
    assert.status(503, response)
    assert.contains("plugin_killed", response.body)
    g:wait_for_log("killed (cpu)")
  end)

  -- All slices of 32 that spin are 1600 of a millisecond: 50 rounds of the loop, if each took all of them.
  spinning("that loop leave rounds of the loop to others, however many they are", function()
    start([[
      function P.access(_, ctx)
        if ctx.req.path == "/loop" then while true do end end
      end
    ]], { use = '{ limits = { cpu = "50ms" } }' })
    local slow, fast = {}, client.connect(g.port)
    for i = 1, 32 do
      slow[i] = client.connect(g.port)
      slow[i]:send("GET /loop HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    for _ = 1, 40 do assert.status(200, fast:get("/")) end -- two rounds each, at least
    for _, c in ipairs(slow) do
      assert.is_true(c:silent(0), "one that spins has ended")
      c:close()
    end
  end)

  it("that wait too long, or hold too much, are killed", function()
    start([[
      function P.access(_, ctx)
        if ctx.req.path == "/wait" then pcall(function() ctx:sleep "1h" end) end
        local t = {}
        if ctx.req.path == "/hoard" then for i = 1, 1e9 do t[i] = { i } end end
      end
    ]], { use = '{ limits = { wall = "1s" } }' })
    assert.status(503, client.get(g.port, "/wait"))
    g:wait_for_log("killed (wall)")
    assert.status(503, client.get(g.port, "/hoard"))
    g:wait_for_log("killed (memory)")
    assert.status(200, client.get(g.port, "/"))
  end)

  it("that are killed again and again are left out for a while", function()
    start([[
      function P.access(_, ctx)
        if ctx.req.path == "/hoard" then
          local t = {}
          for i = 1, 1e9 do t[i] = { i } end
        end
      end
    ]])
    local c = client.connect(g.port)
    for _ = 1, 11 do
      assert.contains("plugin_killed", c:get("/hoard").body)
    end
    local response = c:get("/")
    assert.status(503, response)
    assert.contains("plugin_quarantined", response.body)
    g:wait_for_log("quarantine after too many kills plugin=probe")
  end)

  it("that wait end with the client", function()
    start([[
      function P.access(_, ctx)
        if ctx.req.path == "/wait" then
          ctx.log:warn("waiting")
          ctx:sleep "1h"
        end
      end
      function P.log(_, ctx) ctx.log:warn("ended " .. ctx.req.path) end
    ]])
    local c = client.connect(g.port)
    c:send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    g:wait_for_log("waiting")
    c:reset()
    g:wait_for_log("ended /wait")
    assert.status(200, client.get(g.port, "/"))
  end)

  it("filter bodies chunk by chunk, waiting where they like", function()
    local o = origin.listen()
    start([[
      function P.body_filter(_, ctx, chunk, eof)
        ctx:sleep "5ms"
        if eof then return { chunk:upper(), "!" } end
        return chunk:upper()
      end
    ]], { origin = o })
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local conn = o:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    conn:send("world")
    local response = c:response()
    assert.equal("HELLOWORLD!", response.body)
    assert.equal("chunked", response.framing)
  end)

  it("see the whole body at once when they ask", function()
    start([[
      function P.header_filter(_, ctx) ctx.resp:buffer { max = "1MiB" } end
      function P.body_filter(_, _, chunk, eof) return tostring(eof) .. #chunk end
    ]])
    assert.matches("^true%d+$", client.get(g.port, "/").body)
  end)

  it("are spared a body that is longer than they buffer: 502 where its length is told", function()
    local o = origin.listen()
    start([[
      function P.header_filter(_, ctx) ctx.resp:buffer { max = "10B" } end
      function P.body_filter(_, _, chunk, eof) return { chunk, tostring(eof) } end
    ]], { origin = o })
    local c = client.connect(g.port)
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    local conn = o:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello")
    local response = c:response()
    assert.status(502, response)
    assert.matches('"code":"response_too_large".*}\ntrue$', response.body)
    conn:wait_end()
    c:send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn = o:accept()
    conn:request()
    conn:send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhelloworld")
    assert.equal("helloworldtrue", c:response().body)
    g:wait_for_log("response larger than ctx.resp:buffer allows")
  end)

  it("show each other what they export", function()
    local other = plugin([[
      function P.header_filter(_, ctx) ctx.shared:set("user", { name = "ann" }) end
    ]], "other", ', exports = { "user" }')
    start([[
      function P.header_filter(_, ctx) ctx.resp:set_header("x-user", ctx.shared:get("other.user").name) end
    ]], { other = other })
    assert.equal("ann", client.get(g.port, "/").headers["x-user"])
  end)

  it("take part when their condition holds", function()
    start("function P.access(_, ctx) ctx:exit(202) end",
      { use = '{ when = [==[query.go == "1" and header["x-a"] or client.ip == "192.0.2.1"]==] }' })
    assert.status(200, client.get(g.port, "/?go=1"))
    assert.status(202, client.get(g.port, "/?go=1", { ["X-A"] = "b" }))
  end)

  it("abort an exchange in the middle of the body", function()
    start("function P.body_filter(_, ctx) ctx:abort() end")
    local c = client.connect(g.port)
    c:send(http.request({ target = "/" }))
    local rest = c:receive_rest()
    assert.is_nil(rest:find("0\r\n\r\n", 1, true))
  end)
end)
