-- gRPC through the gateway: client and server are @grpc/grpc-js, HTTP/2 is spoken on both sides.

local cjson = require("cjson")
local gateway = require("support.gateway")
local peer = require("support.peer")
local socket = require("support.socket")
local client = require("support.client")

local OK, CANCELLED, DEADLINE_EXCEEDED, NOT_FOUND = 0, 1, 4, 5
local PERMISSION_DENIED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE, UNAUTHENTICATED = 7, 8, 12, 14, 16

local FILES = {
  ["deny.lua"] = [[
    local S = require "tidegate.schema"
    local P = { name = "deny", version = "1.0.0", api = 1, stage = "auth",
                schema = S.record { status = S.int { min = 400, max = 599 } } }
    function P.access(conf, ctx) ctx:exit(conf.status, "no") end
    return P
  ]],
}

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "http" { address = "127.0.0.1:@PORT@", http2 = true }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, http = "2", @SERVICE@ }
  tg.service "gone" { targets = { { "127.0.0.1:@GONE@" } }, http = "2" }
  tg.route "gone" { paths = { "/tide.Gate/Scatter" }, headers = { ["x-in"] = "gone" }, service = "gone" }
  for _, status in ipairs { 401, 403, 404, 429, 500 } do
    tg.route("deny" .. status) { paths = { "/tide.Gate/*" }, headers = { ["x-in"] = tostring(status) },
                                 service = "back", plugins = { tg.use "./deny.lua" { status = status } } }
  end
  tg.route "calls" { paths = { "/tide.Gate/*" }, service = "back",
    plugins = { tg.use "access-log" {} } }
]]

describe("a call of gRPC", function()
  local server, g

  local function start(service)
    return gateway.start({ config = CONFIG, files = FILES, vars = {
      ORIGIN = server.port, GONE = socket.refusing_port(), SERVICE = service or "" } })
  end

  setup(function()
    server = peer.start("grpc_server.js")
    g = start()
  end)

  teardown(function()
    g:stop()
    server:stop()
  end)

  local function call(...)
    local r = peer.run("grpc_client.js", ...)
    assert.equal(0, r.code, r.err)
    return cjson.decode(r.out)
  end

  it("with one message each way has head, message and trailers", function()
    local outcome = call(g.port, "Unary", "hello", "x-in=seven")
    assert.equal(OK, outcome.code)
    assert.same({ "[hello]" }, outcome.messages)
    assert.equal("seven", outcome.out)
    assert.equal("seven", outcome.trailer)
  end)

  it("streams from the client", function()
    assert.same({ "a,b,c" }, call(g.port, "Gather", "a", "b", "c").messages)
  end)

  it("streams from the server", function()
    assert.equal(100, #call(g.port, "Scatter", "100").messages)
  end)

  it("streams both ways at once: an answer comes before the next question", function()
    local outcome = call(g.port, "Chat", "a", "b", "c")
    assert.same({ "[a]", "[b]", "[c]" }, outcome.messages)
    assert.equal(OK, outcome.code)
  end)

  it("carries large messages", function()
    local outcome = call(g.port, "Unary", ("x"):rep(100000))
    assert.equal(100002, #outcome.messages[1])
  end)

  it("has the server's status and text", function()
    local outcome = call(g.port, "Fail", "5 it is not there")
    assert.equal(NOT_FOUND, outcome.code)
    assert.equal("it is not there", outcome.details)
  end)

  it("passes its deadline on, reduced", function()
    local left = tonumber(call(g.port, "Sleep", "0", "deadline=20000").messages[1])
    assert.is_true(left > 10000 and left <= 20000, left)
    assert.equal("-1", call(g.port, "Sleep", "0").messages[1])
  end)

  it("without an answer within its deadline ends with DEADLINE_EXCEEDED", function()
    assert.equal(DEADLINE_EXCEEDED, call(g.port, "Sleep", "60000", "deadline=300").code)
  end)

  it("to an origin that is not there is UNAVAILABLE", function()
    local outcome = call(g.port, "Scatter", "1", "x-in=gone")
    assert.equal(UNAVAILABLE, outcome.code)
    assert.equal("upstream_unreachable", outcome.details)
  end)

  it("that a plugin refuses has the status that means the same", function()
    for status, code in pairs({ [401] = UNAUTHENTICATED, [403] = PERMISSION_DENIED, [404] = UNIMPLEMENTED,
                                [429] = RESOURCE_EXHAUSTED, [500] = 2 }) do
      assert.equal(code, call(g.port, "Unary", "x", "x-in=" .. status).code, status)
    end
  end)

  it("is refused by HTTP 200 with grpc-status, and no body", function()
    local c = client.connect(g.port)
    local response = c:request({ method = "POST", target = "/elsewhere", body = "",
                                 headers = { ["Content-Type"] = "application/grpc+proto" } })
    assert.status(200, response)
    assert.equal("12", response.headers["grpc-status"])
    assert.equal("no_route", response.headers["grpc-message"])
    assert.equal("application/grpc", response.headers["content-type"])
    assert.equal("", response.body)
    response = c:request({ method = "POST", target = "/elsewhere", body = "",
                           headers = { ["Content-Type"] = "application/grpc-web" } })
    assert.status(404, response)
  end)

  it("is in the access log and the metrics with its status", function()
    call(g.port, "Fail", "5 logged")
    assert.contains('"grpc_status":5', g:stdout())
    assert.contains('"grpc_status":0', g:stdout())
  end)

  it("that is UNAVAILABLE from the start is tried again where 503 is listed", function()
    local retrying = start([[retry = { attempts = 2, on = { 503 }, methods = { "POST" },
                                       backoff = { base = "1ms" } }]])
    assert.equal(UNAVAILABLE, call(retrying.port, "Fail", "14 busy").code)
    assert.contains('"attempts":[', retrying:stdout())
    assert.equal(CANCELLED, call(retrying.port, "Fail", "1 over").code)
    retrying:stop()
  end)
end)
