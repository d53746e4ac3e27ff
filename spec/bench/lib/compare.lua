-- Whether two gateways do the same work: what the client and the origin see of the same requests.
--
-- A case is { name, headers }. Left out of the comparison is what differs by design (OWN), the value of an id
-- that the gateway made up, and what `settle` (a function of header name and value) makes equal.

local client = require "lib.client"

-- Each gateway's own headers about itself and its connections; the length differs with that of an id.
local OWN = { date = true, server = true, via = true, connection = true, ["keep-alive"] = true,
              ["content-length"] = true }

local compare = {}

-- What is visible of one exchange, as lines of text that can be compared: the answer's headers, sorted,
-- then what the origin saw. Ids that the gateway made up become "(generated)".
local function visible(server, case, given_id, settle)
  local answer = assert(client.fetch(server.port, "/seen", case.headers))
  local lines, id = {}, nil
  for _, header in ipairs(answer.headers) do
    if header.name == "x-request-id" then
      id = header.value
    end
    if not OWN[header.name] then
      local value = settle and settle(header.name, header.value) or header.value
      lines[#lines + 1] = header.name .. ": " .. value
    end
  end
  table.sort(lines)
  table.insert(lines, 1, "status " .. answer.status)
  local text = table.concat(lines, "\n") .. "\n-- at the origin\n" .. answer.body
  if not id or #id < 16 then
    error(("%s: no request id in the answer to %s:\n%s"):format(server.name, case.name, text), 0)
  end
  if id == given_id then
    return text
  end
  return (text:gsub(id:gsub("%p", "%%%0"), "(generated)"))
end

--- Raises when one of the cases shows a difference. given_id: the id that a case sends.
function compare.same(ours, theirs, cases, given_id, settle)
  for _, case in ipairs(cases) do
    local mine, peer = visible(ours, case, given_id, settle), visible(theirs, case, given_id, settle)
    if mine ~= peer then
      error(("the answers to %s differ.\n%s:\n%s\n%s:\n%s"):format(case.name, ours.name, mine,
        theirs.name, peer), 0)
    end
  end
end

return compare
