-- A gibibyte through HTTP/2 and TLS: the gateway holds a little of it at a time.

local gateway = require("support.gateway")
local origin = require("support.origin")
local process = require("support.process")
local tls = require("support.tls")
local variant = require("support.variant")

local FILES = tls.files({ main = { names = { "127.0.0.1" } } })
local TOTAL = variant.name == "release" and 2 ^ 30 or 2 ^ 24
local MOST = 2 * 2 ^ 20 -- more memory than before

local CONFIG = [[
  local tg = require "tidegate"
  tg.settings { workers = 1 }
  tg.listener "https" { address = "127.0.0.1:@PORT@", tls = { certificates = {
    { cert = tg.file "main.pem", key = tg.secret "file:main.key" } } } }
  tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } } }
  tg.service "echo" { builtin = "echo" }
  tg.route "echo" { paths = { "/echo" }, service = "echo" }
  tg.route "all" { service = "back" }
]]

describe("a download of a gibibyte #slow", function()
  it("is whole, and adds less than 2 MiB of memory", function()
    local o = origin.listen()
    local g = gateway.start({ config = CONFIG, files = FILES, vars = { ORIGIN = o.port } })
    local url = ("https://127.0.0.1:%d/"):format(g.port)
    local out = process.output(g.dir .. "/got")
    local argv = { "curl", "-sS", "--http2", "-k", "-o", "/dev/null", "-w",
                   "%{http_version} %{size_download}", url }
    assert.contains("HTTP/2 200", tls.curl(g, "-k", "-i", url .. "echo").out) -- the process is there
    local before, most = g:rss(), 0
    local p = process.spawn({ argv = argv, stdout = out })
    local conn = o:accept()
    conn:request()
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(TOTAL))
    local piece = ("x"):rep(2 ^ 18)
    for sent = 0, TOTAL - 1, #piece do
      conn:send(piece, 20)
      if sent % 2 ^ 24 == 0 then most = math.max(most, g:rss() - before) end
    end
    p:wait(60)
    assert.equal(("2 %d"):format(TOTAL), g:read("got"))
    if variant.name == "release" then
      assert.is_true(most < MOST, ("%.2f MiB more"):format(most / 2 ^ 20))
    end
    g:stop()
  end)
end)
