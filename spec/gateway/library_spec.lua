-- The library as plugins use it in a running gateway: each family is called once in a request, and long work
-- in C lets other requests through.

local client = require("support.client")
local clock = require("support.clock")
local gateway = require("support.gateway")

local PLUGIN = [==[
local tg = require "tidegate"
local P = {
  name = "probe", version = "1.0.0", api = 1, stage = "transform",
  limits = { cpu = "30s" },
  metrics = { seen = { type = "counter", labels = { "path" } } },
}
local word, inside
local busy, seen = false, false

function P.configure()
  word = assert(tg.re.compile([[(\w+)-(\d+)]], "i"))
  inside = tg.ip.set { "127.0.0.0/8", "::1" }
end

local calls = {}

function calls.crypto()
  local key, nonce = tg.crypto.random(32), tg.crypto.random(12)
  local sealed = tg.crypto.aead_seal("aes-256-gcm", key, nonce, "tide")
  assert(tg.crypto.equal(tg.crypto.aead_open("aes-256-gcm", key, nonce, sealed), "tide"))
  return tg.hex.encode(tg.crypto.hmac("sha256", "key", "data")):sub(1, 8)
end

function calls.re(ctx)
  local text = word:gsub("a-1 b-2", function(name, number)
    ctx:sleep "1ms"
    return number .. name
  end)
  return text
end

function calls.gzip()
  local text = ("tide"):rep(1000)
  return tg.gunzip(tg.gzip(text), { max = "4KiB" }) == text
end

function calls.ip(ctx) return inside:contains(ctx.client.ip) end
function calls.time() return tg.time.parse "Sun, 06 Nov 1994 08:49:37 GMT" end
function calls.uuid() return #tg.uuid.v7() end
function calls.query() return tg.query.encode(tg.query.decode "a=x+y") end
function calls.cookie() return tg.cookie.decode("a=1; b=2").b end
function calls.html() return tg.html.encode "<b>" end
function calls.metrics(ctx) ctx.metrics:inc("seen", { path = "/x" }) return "counted" end
function calls.slow() -- until another request was answered in the middle of such a call
  local key
  repeat
    busy = true
    key = tg.crypto.pbkdf2("sha256", "password", "salt", 200000, 32)
    busy = false
  until seen
  return #key
end
function calls.busy()
  seen = seen or busy
  return busy
end
function calls.limit()
  local ok, err = pcall(tg.re.compile("(a+)+[bc]").match, tg.re.compile "(a+)+[bc]", ("a"):rep(40))
  return not ok and err.code
end

function P.access(_, ctx)
  ctx:exit(200, tostring(calls[ctx.req.path:sub(2)](ctx)))
end

return P
]==]

describe("the library of plugins", function()
  local g

  setup(function()
    g = gateway.start({
      files = { ["probe.lua"] = PLUGIN },
      config = [[
        local tg = require "tidegate"
        tg.settings { workers = 1, limits = { plugin = { cpu = "30s", wall = "2m" } } }
        tg.listener "http" { address = "127.0.0.1:@PORT@" }
        tg.service "echo" { builtin = "echo" }
        tg.route "all" { paths = { "/*" }, service = "echo", plugins = { tg.use "./probe.lua" {} } }
      ]],
    })
  end)

  teardown(function() g:stop() end)

  local expected = {
    crypto = "5031fe3d", re = "1a 2b", gzip = "true", ip = "true", time = "784111777", uuid = "36",
    query = "a=x%20y", cookie = "2", html = "&lt;b&gt;", metrics = "counted", limit = "limit",
  }
  for family, answer in pairs(expected) do
    it("answers for " .. family, function()
      local response = client.get(g.port, "/" .. family)
      assert.status(200, response)
      assert.equal(answer, response.body)
    end)
  end

  it("works in slices: other requests are answered meanwhile", function()
    local slow, fast = client.connect(g.port), client.connect(g.port)
    slow:send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    clock.wait_until(function() return fast:get("/busy").body == "true" end, 20, "an answer meanwhile")
    local response = slow:response({ seconds = 20 })
    assert.status(200, response)
    assert.equal("32", response.body)
  end)
end)
