-- The pool over HTTP/2: streams that share connections, and what bounds both.

local cjson = require("cjson")
local client = require("support.client")
local clock = require("support.clock")
local frames = require("support.frames")
local gateway = require("support.gateway")
local http = require("support.http")
local origin = require("support.origin")
local peer = require("support.peer")

local MAX_CONCURRENT_STREAMS = 3

local function config(pool, limits)
  return ([[
    local tg = require "tidegate"
    tg.settings { workers = 1, limits = { %s } }
    tg.listener "http" { address = "127.0.0.1:@PORT@" }
    tg.service "back" { targets = { { "127.0.0.1:@ORIGIN@" } }, http = "2", pool = { %s } }
    tg.route "all" { service = "back" }
  ]]):format(limits or "", pool or "")
end

describe("streams to an origin", function()
  local o, g

  local function start(arguments, pool, limits)
    o = peer.start("http2_origin.js", unpack(arguments))
    g = gateway.start({ config = config(pool, limits), vars = { ORIGIN = o.port } })
    local started, running = g, o
    finally(function()
      started:stop()
      running:stop()
    end)
  end

  local function sessions()
    return cjson.decode(client.get(g.port, "/sessions").body)
  end

  -- Clients whose requests wait at the origin until they are released.
  local function wait_there(count)
    local clients = {}
    for i = 1, count do
      clients[i] = client.connect(g.port)
      clients[i]:send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
    end
    return clients
  end

  local function release(clients)
    client.get(g.port, "/release")
    for _, c in ipairs(clients) do
      assert.equal("waited", c:response().body)
    end
  end

  it("share one connection, 150 of them at a time", function()
    start({})
    assert.equal(1, sessions().opened)
    local clients = wait_there(150)
    clock.wait_until(function() return sessions().waiting == 150 end)
    local s = sessions()
    assert.equal(1, s.opened)
    assert.equal(151, s.most_streams)
    release(clients)
  end)

  it("are begun together while the first connection is being made", function()
    start({})
    local clients = wait_there(50)
    clock.wait_until(function() return sessions().waiting == 50 end)
    assert.equal(1, sessions().opened)
    release(clients)
  end)

  it("take another connection where the origin allows no more", function()
    start({ "streams=10" })
    sessions()
    local clients = wait_there(25)
    clock.wait_until(function() return sessions().waiting == 25 end)
    assert.equal(3, sessions().opened)
    release(clients)
  end)

  it("and where limits.upstream.streams allows no more", function()
    start({}, nil, 'upstream = { streams = 5 }')
    sessions()
    local clients = wait_there(9)
    clock.wait_until(function() return sessions().waiting == 9 end)
    assert.equal(2, sessions().opened)
    release(clients)
  end)

  it("are as many on a connection as pool.requests says", function()
    start({}, "requests = 3")
    for _ = 1, 6 do
      assert.status(200, client.get(g.port, "/echo"))
    end
    assert.equal(3, sessions().opened)
  end)

  it("find a connection that was made before", function()
    start({}, "min_idle = 2")
    clock.wait_until(function() return sessions().open == 2 end)
  end)
end)

describe("streams on one connection", function()
  local o, g

  local function start(limits, pool)
    o = origin.listen()
    g = gateway.start({ config = config(pool, limits), vars = { ORIGIN = o.port } })
    local started, listener = g, o
    finally(function()
      started:stop()
      listener:close()
    end)
  end

  local function ask(options)
    local c = client.connect({ port = g.port, rcvbuf = options and options.rcvbuf })
    c:send(http.request({ target = "/", headers = { Host = "a" } }))
    return c
  end

  it("follow what the origin allows", function()
    start()
    local c = ask()
    local f = frames.accept(o, { [MAX_CONCURRENT_STREAMS] = 10 })
    local id = f:request()
    f:send(frames.SETTINGS, 0, 0, frames.settings({ [MAX_CONCURRENT_STREAMS] = 1 }))
    f:send(frames.PING, 0, 0, "12345678")
    f:expect(frames.PING)
    local other = ask()
    local second = frames.accept(o)
    second:answer(second:request(), 200, "other")
    assert.equal("other", other:response().body)
    f:answer(id, 200, "first")
    assert.equal("first", c:response().body)
  end)

  -- Requests that stand at an origin that allows so many, and its connection.
  local function fill_up(allowed)
    local clients = { ask() }
    local f = frames.accept(o, { [MAX_CONCURRENT_STREAMS] = allowed })
    local ids = { f:request() }
    f:send(frames.PING, 0, 0, "12345678")
    f:expect(frames.PING)
    for i = 2, allowed do
      clients[i], ids[i] = ask(), f:request()
    end
    return clients, f, ids
  end

  it("wait for one another where there may be no more connections", function()
    start(nil, 'max = 1, wait = "10s"')
    local clients, f, ids = fill_up(2)
    local late = ask()
    assert.is_true(late:silent(0.2))
    f:answer(ids[2], 200, "second")
    assert.equal("second", clients[2]:response().body)
    f:answer(f:request(), 200, "late")
    assert.equal("late", late:response().body)
    f:answer(ids[1], 200, "first")
    assert.equal("first", clients[1]:response().body)
  end)

  it("are refused where too many wait", function()
    start(nil, "max = 1, queue = 0")
    local clients, f, ids = fill_up(2)
    assert.status(503, ask():response())
    for i, c in ipairs(clients) do
      f:answer(ids[i], 200, "well")
      assert.equal("well", c:response().body)
    end
  end)

  it("leave it to close after its idle time, with a GOAWAY", function()
    start(nil, 'idle_timeout = "100ms"')
    local c = ask()
    local f = frames.accept(o)
    f:answer(f:request(), 200, "")
    assert.status(200, c:response())
    f:expect(frames.GOAWAY)
    assert.is_nil(f:next())
  end)

  it("come to another when its age is over", function()
    start(nil, 'lifetime = "1s"')
    local c = ask()
    local f = frames.accept(o)
    f:answer(f:request(), 200, "")
    assert.status(200, c:response())
    local second
    clock.wait_until(function()
      local again = ask()
      repeat -- one of both gets it
        second = not o:idle(0.02)
      until second or not f.conn:silent(0)
      if not second then
        local ok, id = pcall(f.request, f, 1)
        if ok then
          f:answer(id, 200, "")
          again:response()
        else
          second = not o:idle(1) -- what it read was a farewell
        end
      end
      again:close()
      return second
    end)
  end)

  -- What the gateway lets an origin send on one stream while nobody takes it.
  local function fill(f, id, most)
    local window, sent = 65536, 0
    while sent < most do
      local n = math.min(16384, window - sent)
      if n == 0 then
        break
      end
      f:data(id, ("x"):rep(n))
      sent = sent + n
    end
    return sent
  end

  it("go on while one of them has a client that reads nothing", function()
    start('connection = { buffer = "16KiB" }')
    local slow = ask({ rcvbuf = 4096 })
    local f = frames.accept(o)
    local id = f:request()
    f:headers(id, { { ":status", "200" } })
    assert.equal(65536, fill(f, id, 1000000))
    for _ = 1, 20 do
      local quick = ask()
      local other = f:request()
      f:headers(other, { { ":status", "200" } })
      for _ = 1, 3 do
        f:data(other, ("y"):rep(16384))
      end
      f:data(other, "", true)
      assert.equal(49152, #quick:response().body)
    end
    slow:close()
  end)

  it("have windows that grow while a body fills them", function()
    start('upstream = { window = "1MiB" }')
    local c = ask()
    local f = frames.accept(o)
    local id = f:request()
    f:headers(id, { { ":status", "200" } })
    local sent, stream, whole = 0, 65536, 65535
    -- As much as the windows allow, then a look at what the gateway says; the widest room ever seen.
    local function step()
      local room = math.min(16384, stream - sent, whole - sent)
      if room > 0 then
        f:data(id, ("x"):rep(room))
        sent = sent + room
      else
        local frame = f:next()
        if frame.kind == frames.PING then
          f:acknowledge(frame)
        elseif frame.kind == frames.WINDOW_UPDATE and frame.stream == 0 then
          whole = whole + frames.value_of(frame.payload)
        elseif frame.kind == frames.WINDOW_UPDATE then
          stream = stream + frames.value_of(frame.payload)
        end
      end
      repeat until not c:read(0)
      return stream - sent
    end
    local deadline = clock.deadline(20)
    local most = 0
    while most < 262144 and clock.left(deadline) > 0 do
      most = math.max(most, step())
    end
    f:data(id, "", true)
    c:close()
    assert.is_true(most >= 262144, most)
  end)
end)
