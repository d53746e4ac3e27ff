-- Reads what `check` prints, so that specs can look at parts of it.
--
-- Each message becomes { text, code, file, line, column, path, message, hint, suggestion, severity };
-- `path` is the configuration's, such as routes.orders.retry.atempts, `code` such as TG1204, `text` the
-- first line as it was printed.

local diagnostics = {}

-- What a path is made of: routes.a-b["c d"].plugins[2] (./p.lua).x
local PIECES = { "^%.[%w_-]+()", "^%[%-?%d+%]()", '^%["[^"]*"%]()', "^ %([^()]*%)()" }

-- The path that a message begins with, and what is behind it; nil and the message when there is none.
local function split_path(text)
  local at = text:match "^[%w_][%w_-]*()"
  while at do
    if text:sub(at, at + 1) == ": " then return text:sub(1, at - 1), text:sub(at + 2) end
    local stop
    for _, piece in ipairs(PIECES) do stop = stop or text:match(piece, at) end
    at = stop
  end
  return nil, text
end

local function read_first_line(line)
  local file, number, rest = line:match "^(.-):(%d+): (.*)$"
  local column
  if file and file:match "^(.-):(%d+)$" then
    column = tonumber(number)
    file, number = file:match "^(.-):(%d+)$"
  end
  rest = rest or line
  local plain, code = rest:match "^(.*) %[(TG%d+)%]$"
  rest = plain or rest
  local report = { text = line, code = code, file = file, line = tonumber(number), column = column,
                   severity = "error" }
  if rest:find "^warning: " then report.severity, rest = "warning", rest:sub(10) end
  report.path, report.message = split_path(rest)
  return report
end

local function is_summary(line)
  return line:find "^%d+ errors?[ ,]" or line:find "^%d+ warnings? in " or line:find "^%d+ further message"
end

--- The messages of a printed text, in order.
function diagnostics.read(text)
  local list, report = {}, nil
  for line in text:gmatch "[^\n]+" do
    if is_summary(line) then
      report = nil
    elseif not line:find "^ " then
      report = read_first_line(line)
      list[#list + 1] = report
    elseif report and line:find "^      = " then
      report.hint = line:match "^      = (.*)$"
      report.suggestion = report.hint:match 'did you mean "(.-)"'
    elseif report then
      report.excerpt = (report.excerpt and report.excerpt .. "\n" or "") .. line
    end
  end
  return list
end

return diagnostics
