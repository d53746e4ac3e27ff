-- redirect: sends the client elsewhere.
--
-- The target is a template; what clients choose (query, header, cookie, capture) is percent-encoded in
-- it, so that nobody can lead a redirect to another host or break out of the header.

local S = require "tidegate.schema"
local tg = require "tidegate"

local STATUS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

local P = {
  name = "redirect", version = "1.0.0", api = 1, stage = "traffic",
  schema = S.record {
    to = S.string { min = 1, max = 4096 }:doc "where to, may hold ${...}",
    status = S.int { min = 301, max = 308 }:default(302):check(function(value)
      if not STATUS[value] then return nil, "a redirect is 301, 302, 303, 307 or 308" end
      return true
    end),
    keep_path = S.bool():default(false):doc "append the request's path",
    keep_query = S.bool():default(false):doc "append the request's query",
  },
}

function P.configure(conf)
  local template, err = tg.template(conf.to, "url")
  if not template then error(err.message, 0) end
  return template
end

function P.access(conf, ctx)
  local req = ctx.req
  local url = conf.compiled:render(ctx)
  if conf.keep_path then url = url:gsub("/$", "") .. req.path end
  local query = conf.keep_query and req.query_string
  if query and query ~= "" then
    url = url .. (url:find("?", 1, true) and "&" or "?") .. query
  end
  ctx:redirect(url, conf.status)
end

return P
