--- Assertions that read well over messages and connections, added to luassert.
--
--   assert.status(200, response)
--   assert.header("content-type", "text/plain", response)   -- any case of the name
--   assert.no_header("via", response)
--   assert.contains("refused", g:stderr())                  -- plain text, not a pattern
--   assert.matches is luassert's own (a Lua pattern)
--
-- They are plain functions on `assert`: each raises at its caller's line and shows the message.

local assert = require("luassert")

local function show(message)
  if type(message) ~= "table" then
    return tostring(message)
  end
  return message.raw or message.body or tostring(message)
end

local function fail(text, ...)
  error(text:format(...), 3)
end

rawset(assert, "status", function(expected, response)
  if response.status ~= expected then
    fail("expected status %d, got %s in:\n%s", expected, tostring(response.status), show(response))
  end
  return response
end)

rawset(assert, "header", function(name, expected, message)
  local value = message.headers[name]
  if value ~= expected then
    fail("expected header %s: %s, got %s in:\n%s", name, expected, tostring(value), show(message))
  end
  return message
end)

rawset(assert, "no_header", function(name, message)
  if message.headers[name] ~= nil then
    fail("expected no header %s, got %s in:\n%s", name, message.headers[name], show(message))
  end
  return message
end)

rawset(assert, "contains", function(expected, text)
  if not tostring(text):find(expected, 1, true) then
    fail("expected %q in:\n%s", expected, show(text))
  end
  return text
end)

return assert
