-- TLS in the config language: what listeners and services may say of it, and what must fit together.
--
-- Purpose    The schemas of `tls` tables, and the checks that need certificates to be read: the host builds
--            from a table what it would serve with, and tells what is wrong.
-- Invariants No message shows a byte of a key. A file is named where the text came from one.
-- Ownership  Nothing is kept.
-- Cost       One parse of each certificate and key.

local S = require "tidegate.schema"
local quote = require("tidegate.scalars").quote
local is_host = require("tidegate.scalars").is_host

local tls = {}

-- Text of PEM, from tg.file or tg.secret. It is never shown.
local function pem(noun)
  return S.custom {
    noun = noun,
    json = function() return { type = "string", writeOnly = true } end,
    read = function(_, value, cx)
      local text = type(value) == "string" and value or cx.reveal(value)
      if type(text) ~= "string" then
        return nil, ("expected %s, got a %s"):format(noun, type(value)),
          'write tg.file "PATH" or tg.secret "file:PATH"'
      end
      if not text:find("-----BEGIN ", 1, true) then
        return nil, ("this is not %s in PEM"):format(noun),
          'write tg.file "PATH": the text, not the path, is wanted'
      end
      return text
    end,
  }
end

-- Bytes of a file, from tg.file.
local der = S.custom {
  noun = "an OCSP response", json = function() return { type = "string" } end,
  read = function(_, value)
    if type(value) == "string" and #value > 0 then return value end
    return nil, "expected an OCSP response", 'write tg.file "PATH"'
  end,
}

local host = S.custom {
  noun = "a host", lua = "string", json = function() return { type = "string" } end,
  read = function(_, value)
    local name = value:lower()
    if is_host((name:gsub("^%*%.", ""))) then return name end
    return nil, quote(value) .. " is not a host", 'a name, or a wildcard for all below one: "*.example.com"'
  end,
}

local version = S.enum { "1.2", "1.3" }

tls.listener = S.record {
  profile = S.enum { "intermediate", "modern" }:default "intermediate"
    :doc "modern: TLS 1.3 alone; intermediate: TLS 1.2 too, with forward secrecy",
  min_version = version:optional():doc "the oldest version that is spoken; by default the profile's",
  certificates = S.list(S.record {
    hosts = S.list(host, { min = 1, max = 1024, unique = true }):optional()
      :doc "names that it is shown for; by default those in it",
    cert = pem "a certificate":doc "the certificate, then those between it and the root",
    key = pem "a private key":doc "its private key, not encrypted",
    ocsp = S.record {
      url = S.string { pattern = "^http://[^/%s]+[^%s]*$" }:optional()
        :doc "the responder, instead of the one that the certificate names",
      file = der:optional():doc "a response (DER), instead of asking for one",
    }:optional():doc "staple an OCSP response to handshakes that show this certificate",
  }, { min = 1, max = 1024 }):doc "one of each kind of key for a name; the first is the default",
  unknown_sni = S.enum { "default", "reject" }:default "default"
    :doc "who asks for a name that no certificate is for: gets the default one, or unrecognized_name",
  client_auth = S.record {
    mode = S.enum { "none", "optional", "required" }:doc "whether clients show a certificate",
    ca = pem "a certificate":optional():doc "who signs clients' certificates",
  }:rules { S.when("mode", "optional", S.need "ca"), S.when("mode", "required", S.need "ca") }:optional(),
  tickets = S.bool():default(true):doc "clients may resume their sessions with tickets",
  fingerprint = S.bool():default(false):doc "compute ctx.tls.ja4",
}

tls.hsts = S.record {
  max_age = S.duration { min = "1s", max = "3650d" }:default "365d":doc "how long browsers remember it",
  include_subdomains = S.bool():default(false):doc "it holds for all names below too",
  preload = S.bool():default(false):doc "it may be built into browsers",
}

tls.service = S.record {
  verify = S.bool():default(true):doc "the origin's certificate must be trusted and for its name",
  ca = pem "a certificate":optional():doc "roots that are trusted; by default those of the system",
  sni = host:optional():doc "the name that is asked for and checked; by default the target's address",
  cert = pem "a certificate":optional():doc "the gateway's own certificate, for origins that ask",
  key = pem "a private key":optional():doc "its private key",
  pins = S.list(S.string { pattern = "^sha256/[%w+/]+=$" }, { min = 1, max = 16, unique = true }):optional()
    :doc "public keys that the origin may have: sha256/ and the base64 of the hash of its SPKI",
  min_version = version:optional():doc "the oldest version that is spoken",
}:rules { S.requires("cert", "key"), S.requires("key", "cert") }

--- The value of Strict-Transport-Security.
function tls.hsts_text(value)
  if not value then return nil end
  return ("max-age=%d%s%s"):format(value.max_age, value.include_subdomains and "; includeSubDomains" or "",
    value.preload and "; preload" or "")
end

local function report(session, declaration, root, keys, message, hint)
  session:report(declaration.where, {
    code = "bad_value", path = root .. "." .. S.path_text(keys), message = message, hint = hint,
  }, keys)
end

-- "tls/api.key: ", for text that a file held.
local function origin(session, text)
  local path = text and session.origins and session.origins[text]
  return path and path .. ": " or ""
end

local function check_host(session, declaration, root, kind)
  local value = declaration.checked.tls
  local why, field, number = session.host.check_tls(kind, value)
  if not why then return end
  local keys, holder = { "tls", field }, value
  if number > 0 then
    keys, holder = { "tls", "certificates", number, field }, value.certificates[number]
  elseif field == "ca" and kind == "server" then
    keys, holder = { "tls", "client_auth", "ca" }, value.client_auth
  end
  report(session, declaration, root, keys, origin(session, holder[field]) .. why)
end

local function warn_of_expired(session, declaration, root)
  for i, certificate in ipairs(declaration.checked.tls.certificates) do
    local ends, now = session.host.certificate_end(certificate.cert)
    if ends and ends < now then
      local keys = { "tls", "certificates", i, "cert" }
      session:warn(declaration.where, {
        code = "expired_certificate", path = root .. "." .. S.path_text(keys),
        message = ("%sthe certificate expired on %s"):format(origin(session, certificate.cert),
                                                             os.date("!%Y-%m-%d", ends)),
        hint = "clients will refuse it",
      }, keys)
    end
  end
end

local function check_listener(session, declaration, root)
  local value = declaration.checked
  if value.tls and value.redirect then
    report(session, declaration, root, { "redirect" }, "a listener that speaks TLS is https already")
  end
  if value.hsts and not value.tls then
    report(session, declaration, root, { "hsts" }, "browsers heed it over TLS alone",
      "set it on the listener that has tls")
  end
  if value.proxy_protocol and #value.trusted == 0 then
    report(session, declaration, root, { "proxy_protocol" }, "nobody is trusted to send PROXY headers",
      'name the load balancer\'s network: trusted = { "10.0.0.0/8" }')
  end
  if not value.tls then return end
  if value.tls.profile == "modern" and value.tls.min_version == "1.2" then
    report(session, declaration, root, { "tls", "min_version" }, "the profile modern has no TLS 1.2")
  end
  check_host(session, declaration, root, "server")
  warn_of_expired(session, declaration, root)
end

--- Checks the listeners and services of a session that have passed their schemas.
-- @tparam table session see script.lua
-- @tparam table listeners declarations
-- @tparam table services declarations
-- @tparam function root_of path of a declaration as text
function tls.check(session, listeners, services, root_of)
  for _, declaration in ipairs(listeners) do check_listener(session, declaration, root_of(declaration)) end
  for _, declaration in ipairs(services) do
    local value = declaration.checked
    if value.proxy_protocol and value.http ~= "1.1" then
      report(session, declaration, root_of(declaration), { "http" },
        "a PROXY header speaks of one client, so connections that begin with one are not shared",
        'leave http out, or proxy_protocol')
    end
    if value.tls and value.builtin then
      report(session, declaration, root_of(declaration), { "tls" }, "a builtin service is not connected to")
    elseif value.tls then
      check_host(session, declaration, root_of(declaration), "client")
    end
  end
end

return tls
