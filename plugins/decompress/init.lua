-- Decodes compressed bodies of requests before anybody reads them: later plugins, and the origin.
--
-- What is taken is prepared in configure(); the gateway decodes as the body comes, within bounds. No Lua runs
-- for it.

local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "decompress",
  version = "1.0.0",
  api = 1,
  stage = "edge",
  schema = S.record {
    codings = S.list(S.enum { "gzip", "deflate", "br", "zstd" }, { min = 1, unique = true })
      :default { "gzip", "deflate", "br", "zstd" }
      :doc "codings that are taken; a body in another one is refused with 415",
    max = S.bytes { min = "1KiB", max = "1TiB" }:default "10MiB"
      :doc "largest decoded body; limits.request.decoded bounds it too",
  },
}

function P.configure(conf)
  tg.edits { decompress = { codings = conf.codings, max = conf.max } }:instead_of "access"
end

--- Has the body decoded: prepared edits stand in for it.
function P.access() end

return P
