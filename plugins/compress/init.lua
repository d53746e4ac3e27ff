-- Compresses answers on their way to the client: gzip, br or zstd, whatever it takes and likes best.
--
-- What is asked for is prepared in configure(); the gateway decides and does the work for each answer, behind
-- all filters. No Lua runs for it.

local S = require "tidegate.schema"
local tg = require "tidegate"

local TYPES = {
  "text/*", "application/json", "+json", "application/javascript", "application/xml", "+xml",
  "application/wasm", "application/vnd.ms-fontobject", "font/otf", "font/ttf", "image/bmp", "image/x-icon",
}

local function is_type(text)
  return text == "*/*" or text:find "^[%w!#$&^_.+-]+/[%w!#$&^_.+-]+$" or text:find "^[%w!#$&^_.+-]+/%*$"
    or text:find "^%+[%w.-]+$"
end

local P = {
  name = "compress",
  version = "1.0.0",
  api = 1,
  stage = "transform",
  schema = S.record {
    codings = S.list(S.enum { "br", "zstd", "gzip" }, { min = 1, unique = true })
      :default { "br", "zstd", "gzip" }
      :doc "what answers are brought into; the first of those that a client likes best is taken",
    levels = S.record {
      gzip = S.int { min = 1, max = 9 }:default(5):doc "1 is fast, 9 is small",
      br = S.int { min = 1, max = 8 }:default(4):doc "1 is fast, 8 is small",
      zstd = S.int { min = 1, max = 9 }:default(3):doc "1 is fast, 9 is small",
    }:default {}:doc "how hard each coding tries",
    min_size = S.bytes { max = "1GiB" }:default "1KiB"
      :doc "answers that are known to be smaller stay as they are",
    types = S.list(S.string(), { min = 1 }):default(TYPES)
      :doc "content types: a whole one, text/* for all texts, +json for all that end so"
      :check(function(list)
        for _, text in ipairs(list) do
          if not is_type(text) then
            return nil, ("%q is no content type; such are \"text/html\", \"text/*\", \"+json\""):format(text)
          end
        end
        return true
      end),
  },
}

function P.configure(conf)
  tg.edits {
    compress = { codings = conf.codings, levels = conf.levels, min = conf.min_size, types = conf.types },
  }:instead_of "header_filter"
end

--- Has the answer compressed: prepared edits stand in for it.
function P.header_filter() end

return P
