-- What a fake origin does: answers, and the ways in which origins fail.
--
-- Purpose    Whatever a spec gives for an origin (a response, a function, t.hang()…) becomes one kind of
--            value here, a behaviour, which the world asks twice: at a dial and at a request.
-- Invariants A behaviour that goes through steps (t.sequence) moves on once for each attempt of the gateway,
--            whether that ended at the dial or at the request.
-- Ownership  Plain tables; functions are the spec's and run in the host's VM.
-- Cost       None to speak of.

local duration = require "tidegate.test.duration"

local behaviour = {}

local KIND = {} -- marks behaviours

local function make(kind, fields)
  fields[KIND] = kind
  return fields
end

--- The kind of a behaviour; nil for anything else.
function behaviour.kind(value)
  return type(value) == "table" and rawget(value, KIND) or nil
end

--- Nobody listens: the dial fails with "connection refused".
function behaviour.refuse() return make("refuse", {}) end

--- Takes the dial and never finishes it when `at` is "connect"; else takes the request and never answers.
function behaviour.hang(at)
  assert(at == nil or at == "connect", 'hang() or hang "connect"')
  return make(at == "connect" and "hang_connect" or "hang", {})
end

--- Resets the connection after `after` bytes of the response (of `response`, or of a plain 200).
function behaviour.reset_conn(after, response)
  return make("reset", { after = after or 0, response = response or { 200, body = "x" } })
end

--- Answers `response` after `delay`.
function behaviour.slow(delay, response)
  return make("slow", { delay = duration.read(delay), response = response or { 200 } })
end

local OF_CHUNKS = { status = true, headers = true, delay = true }

--- Answers a body in these pieces, one chunk each; fields status, headers, delay (before each piece).
function behaviour.chunks(list)
  for name in pairs(list) do
    if type(name) ~= "number" and not OF_CHUNKS[name] then
      error(("t.chunks has no field %q; there are status, headers and delay"):format(tostring(name)), 2)
    end
  end
  return make("chunks", { list = list, status = list.status or 200, headers = list.headers,
                          delay = list.delay and duration.read(list.delay) })
end

--- One behaviour after the other, the last one from then on.
function behaviour.sequence(list)
  assert(#list > 0, "t.sequence { … } needs at least one answer")
  return make("sequence", { list = list, at = 0 })
end

--- Sends exactly these bytes for an answer, and closes the connection when `close` is given.
function behaviour.raw(bytes, close) return make("raw", { bytes = bytes, close = close }) end

--- Takes a WebSocket. `protocol`: the subprotocol that it agrees to; `on`: function(message, peer) for each
-- message that comes, with peer:send() and its like to answer. See websocket.lua.
function behaviour.websocket(fields)
  fields = fields or {}
  return make("websocket", { protocol = fields.protocol, on = fields.on })
end

--- Whether a table is a map from addresses to behaviours.
function behaviour.is_map(value)
  local key = next(value)
  return type(key) == "string" and key:find ":%d+$" ~= nil
end

local RESPONSE = { [1] = true, status = true, reason = true, headers = true, body = true, chunks = true }

-- The field of a response that none has; nil: all is well.
local function unknown_field(response)
  for name in pairs(response) do
    if not RESPONSE[name] then return tostring(name) end
  end
end

local NO_FIELD = "a response has no field %q; there are status, reason, headers, body and chunks"

--- Refuses what is no behaviour; `level` as for error().
function behaviour.check(value, level)
  local kind = type(value)
  if kind == "function" or behaviour.kind(value) then return value end
  if kind == "number" then return { value } end
  if kind == "table" and behaviour.is_map(value) then
    for _, one in pairs(value) do behaviour.check(one, level + 1) end
    return value
  end
  if kind == "table" and type(value[1] or value.status) == "number" then
    local unknown = unknown_field(value)
    if unknown then error(NO_FIELD:format(unknown), level + 1) end
    return value
  end
  error("an origin is a response such as { 200, body = \"…\" }, a function that returns one, a map from " ..
        "addresses to these, or t.refuse() and its like", level + 1)
end

--- The same behaviour, with a place of its own in each sequence.
function behaviour.copy(value)
  local kind = behaviour.kind(value)
  if type(value) ~= "table" or not (kind or behaviour.is_map(value)) then return value end
  local new = {}
  for key, one in pairs(value) do new[key] = behaviour.copy(one) end
  if kind == "sequence" then
    new.list = {}
    for i, one in ipairs(value.list) do new.list[i] = behaviour.copy(one) end
  end
  return new
end

--- What `value` does for `address`: maps and sequences are resolved. `peek` leaves sequences where they are.
function behaviour.resolve(value, address, peek)
  while true do
    if behaviour.kind(value) == "sequence" then
      local at = math.min(value.at + 1, #value.list)
      if not peek then value.at = at end
      value = value.list[at]
    elseif type(value) == "table" and not behaviour.kind(value) and behaviour.is_map(value) then
      value = value[address]
      if value == nil then return behaviour.refuse() end
    else
      return value
    end
  end
end

--- A response table in its full form.
function behaviour.response(value)
  if value == nil then return { status = 200, body = "" } end
  if type(value) == "number" then return { status = value, body = "" } end
  if type(value) ~= "table" or type(value.status or value[1]) ~= "number" then
    error("a mock handler returns a response such as { 200, body = \"…\" }, not a " .. type(value), 0)
  end
  local unknown = unknown_field(value)
  if unknown then error(NO_FIELD:format(unknown), 0) end
  return { status = value.status or value[1], headers = value.headers, body = value.body,
           chunks = value.chunks, reason = value.reason }
end

return behaviour
