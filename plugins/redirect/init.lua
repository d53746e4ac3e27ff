-- Sends the client elsewhere: a fixed target or one with ${...} parts, with path and query kept as asked.
--
-- Safe targets. What the client chooses freely is percent-encoded by the template, so no value can end a
-- header or begin another part of the URL. The host of an absolute target takes no value that the client
-- chooses, and a target on this host never begins with "//" (nor "/\", which browsers read alike), so
-- neither can lead to a host that the operator did not write.

local S = require "tidegate.schema"
local tg = require "tidegate"

local STATUS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

-- The part of an absolute target before its path; ${req.path} begins with a slash.
local function authority_of(to)
  local rest = to:match "^%a[%w+.-]*://(.*)$"
  return rest and rest:gsub("%${req%.path}", "/"):gsub("%${req%.raw_path}", "/"):match "^[^/?#]*"
end

local function check_target(to)
  if to:find "[^\33-\126]" then
    return nil, "blanks, control characters and non-ASCII must be percent-encoded"
  end
  local authority = authority_of(to)
  if not authority then
    if to:find "^/" and not to:find "^/[/\\]" then return true end
    if to:find "^%${req%.raw_path}" or to:find "^%${req%.path}" then return true end
    return nil, 'expected a URL ("https://example.test/new") or a path ("/new")'
  end
  if authority == "" then return nil, "the URL has no host" end
  for name in authority:gmatch "%${([^}]*)}" do
    if name ~= "req.host" and name ~= "req.port" then
      return nil, ("${%s} in the host would let clients choose where others are sent"):format(name)
    end
  end
  return true
end

local P = {
  name = "redirect",
  version = "1.0.0",
  api = 1,
  stage = "edge",
  schema = S.record {
    to = S.template():check(check_target):doc "a URL or a path, with ${...} parts",
    status = S.int():check(function(status)
      if STATUS[status] then return true end
      return nil, "expected 301, 302, 303, 307 or 308"
    end):default(302):doc "308 and 307 keep the method, 301 and 308 are kept by browsers",
    keep_path = S.bool():default(false):doc "append the request's path",
    strip_prefix = S.string { pattern = "^/.*[^/]$" }:optional()
      :doc "what to leave out at the beginning of that path",
    keep_query = S.bool():default(false):doc "append the request's query",
  }:check(function(conf)
    local with_query, with_fragment = conf.to:find("?", 1, true), conf.to:find("#", 1, true)
    if conf.keep_path and (with_query or with_fragment) then
      return nil, "keep_path: a path cannot follow the query or fragment of `to`"
    end
    if conf.keep_query and with_fragment then
      return nil, "keep_query: a query cannot follow the fragment of `to`"
    end
    if conf.strip_prefix and not conf.keep_path then
      return nil, "strip_prefix: needs keep_path = true"
    end
    return true
  end),
}

function P.configure(conf)
  local to = conf.keep_path and conf.to:gsub("/$", "") or conf.to
  local template, err = tg.template(to, "url")
  if not template then error("to: " .. err.message, 0) end
  return {
    fixed = not to:find("${", 1, true) and to or nil,
    template = template,
    is_local = authority_of(conf.to) == nil,
    separator = conf.to:find("?", 1, true) and "&" or "?",
  }
end

-- The request's path behind `prefix`; the whole of it where that is no prefix of whole segments.
local function kept_path(path, prefix)
  if not prefix or path:sub(1, #prefix) ~= prefix then return path end
  local rest = path:sub(#prefix + 1)
  if rest == "" or rest:sub(1, 1) == "/" then return rest end
  return path
end

function P.access(conf, ctx)
  local compiled, req = conf.compiled, ctx.req
  local url = compiled.fixed or compiled.template:render(ctx)
  if conf.keep_path then url = url .. kept_path(req.path, conf.strip_prefix) end
  if compiled.is_local then url = url:gsub("^[/\\]*", "/", 1) end
  local query = conf.keep_query and req.query_string
  if query then url = url .. compiled.separator .. query end
  ctx:redirect(url, conf.status)
end

return P
