-- HTTP archives: --record writes what specs did, t.replay does it again.
--
-- Purpose    Captured traffic as specs: each entry of an archive (HAR 1.2, as browsers and proxies write it)
--            is a request and the answer that was seen. Archives of our own also hold what the origin
--            answered, in `_origin`, so they replay without a handler.
-- Invariants Times are the gateway's. Bodies that are not text are in base 64, as the format says.
-- Ownership  A recorder keeps its entries until it writes them.
-- Cost       One table for each request.

local cjson = require "cjson.safe"
local http = require "tidegate.test.http"

local har = {}

local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function encode64(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    for k = 3, 0, -1 do
      local at = math.floor(bits / 64 ^ k) % 64
      local padded = (k == 1 and not b) or (k == 0 and not c)
      out[#out + 1] = padded and "=" or DIGITS:sub(at + 1, at + 1)
    end
  end
  return table.concat(out)
end

local function decode64(text)
  local out, bits, have = {}, 0, 0
  for digit in text:gmatch "[%w+/]" do
    bits, have = bits * 64 + DIGITS:find(digit, 1, true) - 1, have + 6
    if have >= 8 then
      have = have - 8
      out[#out + 1] = string.char(math.floor(bits / 2 ^ have) % 256)
      bits = bits % 2 ^ have
    end
  end
  return table.concat(out)
end

-- ---- Writing --------------------------------------------------------------------------------------------

-- cjson writes an empty table as an object; this text becomes an empty list when all is written.
local EMPTY = "\1"

local function list_of(fields)
  local list = {}
  for i, field in ipairs(fields) do list[i] = { name = field[1], value = field[2] } end
  return #list > 0 and list or EMPTY
end

local function query_of(target)
  local list = {}
  for pair in (target:match "%?(.*)$" or ""):gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    list[#list + 1] = { name, value }
  end
  return list_of(list)
end

local function with_text(target, body, name)
  local is_text = not body:find "[%z\1-\8\14-\31\127-\255]"
  target[name or "text"] = is_text and body or encode64(body)
  if not is_text then target.encoding = "base64" end
  return target
end

local function request_of(request)
  local fields = http.field_list(request.headers)
  local path, host = request.path or "/", request.host or http.headers(fields).host or "gateway.test"
  local body = request.body or request.chunks and table.concat(request.chunks)
  local entry = {
    method = request.method or "GET", url = "http://" .. host .. path,
    httpVersion = "HTTP/" .. (request.version or "1.1"), cookies = list_of {}, headers = list_of(fields),
    queryString = query_of(path), headersSize = -1, bodySize = body and #body or 0,
  }
  if body then
    local kind = http.headers(fields)["content-type"] or "application/octet-stream"
    entry.postData = with_text({ mimeType = kind, params = list_of {} }, body)
  end
  return entry
end

local function response_of(result)
  local body = result.body or ""
  return {
    status = result.status or 0, statusText = result.reason or "", httpVersion = "HTTP/1.1",
    cookies = list_of {}, headers = list_of(result.header_list or {}), redirectURL = "",
    content = with_text({ size = #body, mimeType = result.headers["content-type"] or "" }, body),
    headersSize = -1, bodySize = #body,
  }
end

local function origin_of(result)
  local response = result.origin
  if not response then return nil end
  local body = response.body or response.chunks and table.concat(response.chunks) or ""
  return with_text({ service = result.service, status = response.status,
                     headers = list_of(http.field_list(response.headers)) }, body)
end

local recorder = {}
recorder.__index = recorder

--- A recorder of what happens from now on.
function har.recorder()
  return setmetatable({ entries = {} }, recorder)
end

--- Notes one request and what became of it.
function recorder:add(real, request, result)
  local at = real - (result.elapsed or 0)
  local stamp = os.date("!%Y-%m-%dT%H:%M:%S", math.floor(at)) .. (".%03dZ"):format(math.floor(at % 1 * 1000))
  local ms = (result.elapsed or 0) * 1000
  self.entries[#self.entries + 1] = {
    startedDateTime = stamp, time = ms, request = request_of(request), response = response_of(result),
    cache = {}, timings = { send = 0, wait = ms, receive = 0 }, _origin = origin_of(result),
  }
end

--- Writes the archive; nil and why when that is not possible.
function recorder:write(path)
  local file, why = io.open(path, "wb")
  if not file then return nil, why end
  local text = cjson.encode {
    log = { version = "1.2", creator = { name = "tidegate test", version = "1" },
            entries = #self.entries > 0 and self.entries or EMPTY },
  }
  local ok
  ok, why = file:write((text:gsub('"\\u0001"', "[]")), "\n")
  if ok then return file:close() end
  file:close()
  return nil, why
end

-- ---- Reading --------------------------------------------------------------------------------------------

local function body_of(content)
  local text = content and content.text
  if type(text) ~= "string" then return nil end
  return content.encoding == "base64" and decode64(text) or text
end

local function escaped(text)
  return (text:gsub("[^%w._~-]", function(byte) return ("%%%02X"):format(byte:byte()) end))
end

-- The body of a request: its text, or, as the format has it for forms, names and values in its place.
local function post_of(data)
  local params = type(data) == "table" and data.params
  if type(params) ~= "table" or #params == 0 or type(data.text) == "string" then return body_of(data) end
  if not tostring(data.mimeType):find "^application/x%-www%-form%-urlencoded" then
    error(("a body of the type %s is there in parts only"):format(tostring(data.mimeType)), 0)
  end
  local pairs_of = {}
  for i, param in ipairs(params) do
    pairs_of[i] = escaped(param.name) .. "=" .. escaped(param.value or "")
  end
  return table.concat(pairs_of, "&")
end

-- What a captured head says of the connection it came on is not said again. Bodies of answers are in the
-- clear, those of requests and of our own origins as they were sent.
local SKIPPED = { ["host"] = true, ["content-length"] = true, ["transfer-encoding"] = true,
                  ["connection"] = true }

local function fields_of(list, is_clear)
  local fields = {}
  for _, header in ipairs(type(list) == "table" and list or {}) do
    local name = header.name:lower()
    local skipped = name:sub(1, 1) == ":" or SKIPPED[name] or is_clear and name == "content-encoding"
    if not skipped then
      fields[#fields + 1] = { header.name, header.value }
    end
  end
  return fields
end

local function read_entry(entry)
  local host, target = entry.request.url:match "^%a+://([^/?#]+)([^#]*)"
  if not host then error(("%q is not an address"):format(tostring(entry.request.url)), 0) end
  if target:sub(1, 1) ~= "/" then target = "/" .. target end
  local origin = entry._origin
  return {
    request = { method = entry.request.method, path = target, host = host,
                headers = fields_of(entry.request.headers), body = post_of(entry.request.postData),
                version = tostring(entry.request.httpVersion):match "^HTTP/(1%.[01])$" },
    expected = { status = entry.response.status,
                 headers = http.headers(fields_of(entry.response.headers, true)),
                 body = body_of(entry.response.content) },
    origin = origin and { status = origin.status, headers = fields_of(origin.headers), body = body_of(origin),
                          service = origin.service },
  }
end

--- The entries of an archive: { request, expected, origin }; raises when it is none.
function har.read(path)
  local file, why = io.open(path, "rb")
  if not file then error("cannot read " .. why, 0) end
  local text = file:read "*a"
  file:close()
  local archive, problem = cjson.decode(text)
  local entries = type(archive) == "table" and type(archive.log) == "table" and archive.log.entries
  if type(entries) ~= "table" then
    error(("%s is not an HTTP archive%s"):format(path, problem and ": " .. problem or ""), 0)
  end
  local list = {}
  for i, entry in ipairs(entries) do
    local ok, read = pcall(read_entry, entry)
    if not ok then error(("%s: entry %d: %s"):format(path, i, tostring(read)), 0) end
    list[i] = read
  end
  return list
end

return har
