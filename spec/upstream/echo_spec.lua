-- builtin = "echo": what it shows of a request whose record is long, and that it says what it left out.

local client = require("support.client")
local gateway = require("support.gateway")

local KEPT = 64 * 1024

describe("the echo origin", function()
  local g

  setup(function()
    g = gateway.start({ config = [[
      local tg = require "tidegate"
      tg.settings { workers = 1, limits = {
        request = { headers = "1MiB", memory = "16MiB" }, upstream = { headers = "1MiB" } } }
      tg.listener "http" { address = "127.0.0.1:@PORT@" }
      tg.service "echo" { builtin = "echo" }
      tg.route "all" { paths = { "/*" }, service = "echo" }
    ]] })
  end)

  teardown(function() g:stop() end)

  local function post(headers, body)
    local c = client.connect(g.port)
    c:send(("POST /x HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s"):format(headers, #body, body))
    local response = c:response()
    c:close()
    return response
  end

  for name, case in pairs({
    ["control characters"] = { "\0", "\\u0000" },
    ["quotes"] = { '"', '\\"' },
    ["bytes that are no UTF-8"] = { "\255", "\239\191\189" },
  }) do
    it("shows 64 KiB of " .. name .. " whole", function()
      local response = post("", case[1]:rep(KEPT))
      assert.status(200, response)
      assert.is_true(response.body:find('"body":"' .. case[2]:rep(KEPT) .. '"', 1, true) ~= nil)
      assert.contains('"body_bytes":65536,"body_truncated":false}', response.body)
    end)
  end

  it("cuts a longer body and says so", function()
    local response = post("", ("\0"):rep(KEPT + 1))
    assert.status(200, response)
    assert.is_true(response.body:find('"body":"' .. ("\\u0000"):rep(KEPT) .. '"', 1, true) ~= nil)
    assert.contains('"body_bytes":65537,"body_truncated":true}', response.body)
  end)

  it("refuses headers that it has no room to show, and serves the next request", function()
    local response = post("X: " .. ('"'):rep(600 * 1024) .. "\r\n", "b")
    assert.status(431, response)
    assert.contains("too large for the echo to show", response.body)
    assert.status(200, post("", "b"))
  end)
end)
