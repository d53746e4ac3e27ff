-- Back-pressure: a large body through the gateway, slow on either side, adds less than 1 MiB of
-- memory. TIDEGATE_BODY_MIB sets the size (256; `TIDEGATE_BODY_MIB=2048 make spec F=...` for 2 GiB).

local proxy = require("support.proxy")
local socket = require("support.socket")

local MIB = 1024 * 1024
local TOTAL = (tonumber(os.getenv("TIDEGATE_BODY_MIB")) or 256) * MIB
local BOUND = MIB

-- Sanitizers keep freed memory and shadows of it: there only the bytes are looked at.
local MEASURED = (os.getenv("TIDEGATE_BUILD") or "release") == "release"

describe("#slow a large body", function()
  local p

  setup(function()
    p = proxy.start({ limits = 'request = { body = "4GiB" }' })
    assert.is_true(p:serves())
  end)

  teardown(function()
    p:stop()
  end)

  -- Runs `act`, which calls its argument now and then, and asserts on the memory that was added.
  local function measured(act)
    local before, most = p:own_memory(), 0
    local calls = 0
    act(function()
      calls = calls + 1
      if calls % 256 == 0 then
        most = math.max(most, p:own_memory())
      end
    end)
    most = math.max(most, p:own_memory())
    if MEASURED then
      assert.is_true(most - before < BOUND, ("%d KiB were added"):format((most - before) / 1024))
    end
  end

  local function upload(chunk)
    local c = p:connect()
    c:send(("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(TOTAL))
    local conn = p.origin:accept()
    conn:request_head()
    measured(function(look)
      local sent, received = socket.pump(c, conn, { total = TOTAL, chunk = chunk, each = look })
      assert.equal(TOTAL, sent)
      assert.equal(TOTAL, received)
    end)
    conn:reply({ body = "ok" })
    assert.equal("ok", c:response().body)
    c:close()
    conn:close()
  end

  local function download(chunk)
    local c, conn = p:exchange("GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(TOTAL))
    c:response_head()
    measured(function(look)
      local sent, received = socket.pump(conn, c, { total = TOTAL, chunk = chunk, each = look })
      assert.equal(TOTAL, sent)
      assert.equal(TOTAL, received)
    end)
    c:close()
    conn:close()
  end

  it("goes up", function()
    upload(65536)
  end)

  it("goes down", function()
    download(65536)
  end)

  it("goes up to an origin that takes little at a time", function()
    upload(8192)
  end)

  it("goes down to a client that takes little at a time", function()
    download(8192)
  end)

  it("waits where an origin takes nothing", function()
    local c = p:connect()
    c:send(("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"):format(TOTAL))
    local conn = p.origin:accept()
    measured(function()
      assert.is_true(c:offer(("x"):rep(65536), TOTAL) < 64 * MIB)
    end)
    c:close()
    conn:close()
  end)

  it("waits where a client takes nothing", function()
    local c, conn = p:exchange("GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:send(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(TOTAL))
    measured(function()
      assert.is_true(conn:offer(("x"):rep(65536), TOTAL) < 64 * MIB)
    end)
    c:close()
    conn:close()
  end)

  it("goes down chunked, from an origin that ends by closing", function()
    local c, conn = p:exchange("GET /down HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:send("HTTP/1.1 200 OK\r\n\r\n")
    c:response_head()
    local total = 32 * MIB
    measured(function(look)
      local sent = socket.pump(conn, c, { total = total, expect = total, each = look })
      assert.equal(total, sent)
    end)
    conn:close()
    local rest = c:receive_until("0\r\n\r\n")
    assert.is_true(#rest > 0)
  end)
end)
