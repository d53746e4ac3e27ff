--- Content codings for specs, by other programs than the gateway: gzip, brotli and zstd; br is decoded by its
-- library, for the program makes nothing of a part.
--
--   coding.encode("br", text)        -- bytes
--   coding.decode("br", bytes)       -- text, and whether the bytes were whole
--
-- What of a body has come may be decoded as well: the text is what could be made of it.

local ffi = require("ffi")

local coding = {}

ffi.cdef [[
void *BrotliDecoderCreateInstance(void *take, void *give_back, void *arg);
int BrotliDecoderDecompressStream(void *state, size_t *in_n, const uint8_t **in, size_t *out_n,
                                  uint8_t **out, size_t *total);
void BrotliDecoderDestroyInstance(void *state);
]]
local brotli = ffi.load("brotlidec")

local PROGRAMS = { gzip = "gzip -c", br = "brotli -c", zstd = "zstd -q -c" }

local function through(command, bytes)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  local pipe = assert(io.popen(("%s < %s 2>/dev/null; echo $?"):format(command, path)))
  local out = pipe:read("*a")
  pipe:close()
  os.remove(path)
  local text, status = out:match("^(.*)(%d+)\n$")
  return text, status == "0"
end

--- `text` in that coding.
function coding.encode(name, text)
  local bytes, good = through(PROGRAMS[name], text)
  assert(good, "cannot encode as " .. name)
  return bytes
end

local function decode_br(bytes)
  local state = brotli.BrotliDecoderCreateInstance(nil, nil, nil)
  local room = ffi.new("uint8_t[65536]")
  local left, from = ffi.new("size_t[1]", #bytes), ffi.new("const uint8_t *[1]")
  from[0] = ffi.cast("const uint8_t *", bytes)
  local parts = {}
  local result
  repeat
    local free, to = ffi.new("size_t[1]", 65536), ffi.new("uint8_t *[1]", room)
    result = brotli.BrotliDecoderDecompressStream(state, left, from, free, to, nil)
    parts[#parts + 1] = ffi.string(room, 65536 - tonumber(free[0]))
  until result ~= 3 -- more output
  brotli.BrotliDecoderDestroyInstance(state)
  return table.concat(parts), result == 1 and left[0] == 0
end

--- What `bytes` in that coding are, and whether they are whole.
function coding.decode(name, bytes)
  if name == "br" then return decode_br(bytes) end
  return through(PROGRAMS[name] .. " -d", bytes)
end

return coding
