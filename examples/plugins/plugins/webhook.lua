--- Lets a webhook in whose body is signed: HMAC-SHA-256 over the bytes as they came, in hexadecimal.
local S = require "tidegate.schema"
local tg = require "tidegate"

local P = {
  name = "webhook",
  version = "1.0.0",
  api = 1,
  stage = "auth",
  needs = { body = "request" },
  schema = S.record {
    secret = S.secret(),
    header = S.header_name():default "x-hub-signature-256",
    max = S.bytes():default "256KiB",
  },
}

function P.access(conf, ctx)
  local digits = (ctx.req:header(conf.header) or ""):match "^sha256=(%x+)$"
  local signature = digits and tg.hex.decode(digits)
  if not signature then ctx:exit(401, { error = "no signature" }) end
  local body, err = ctx.req:body { max = conf.max }
  if not body then ctx:exit(err.code == "too_large" and 413 or 400, { error = err.message }) end
  if not tg.crypto.equal(tg.crypto.hmac("sha256", conf.secret, body), signature) then
    ctx:exit(401, { error = "bad signature" })
  end
end

return P
