-- Tables for terminals: columns as wide as their widest cell.
--
-- Purpose    What the reports share: aligned columns, and figures as people read them.
-- Invariants Numbers stand right, words left; no line ends in spaces. A character takes one column, whatever
--            its bytes; control characters, which would break a line or more, are shown as "?".
-- Ownership  Pure functions.
-- Cost       Two passes over the cells.

local columns = {}

local STEPS = { { "GiB", 2 ^ 30 }, { "MiB", 2 ^ 20 }, { "KiB", 2 ^ 10 } }

--- A size in the unit that leaves at most four digits: "75.6KiB".
function columns.size(bytes)
  for _, step in ipairs(STEPS) do
    if bytes >= step[2] then return ("%.1f%s"):format(bytes / step[2], step[1]) end
  end
  return ("%dB"):format(bytes)
end

--- A short time: "35us", "1.2ms", "2.50s".
function columns.span(seconds)
  if seconds < 1e-3 then return ("%.0fus"):format(seconds * 1e6) end
  if seconds < 1 then return ("%.1fms"):format(seconds * 1e3) end
  return ("%.2fs"):format(seconds)
end

--- A time since something: "3d 4h", "2m 10s", "12s".
function columns.age(seconds)
  seconds = math.floor(seconds)
  if seconds >= 86400 then return ("%dd %dh"):format(seconds / 86400, seconds % 86400 / 3600) end
  if seconds >= 3600 then return ("%dh %dm"):format(seconds / 3600, seconds % 3600 / 60) end
  if seconds >= 60 then return ("%dm %ds"):format(seconds / 60, seconds % 60) end
  return ("%ds"):format(seconds)
end

--- How many columns a text takes: continuation bytes of UTF-8 take none.
function columns.width(text)
  return #text:gsub("[\128-\191]", "")
end

local function widths_of(rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, cell in ipairs(row) do widths[i] = math.max(widths[i] or 0, columns.width(cell)) end
  end
  return widths
end

--- Lays out a table.
-- @tparam table heads one name a column; one that begins with "<" stands left, the others right
-- @tparam table rows lists of strings and numbers
-- @treturn string lines, the last one ended too
function columns.render(heads, rows)
  local all, left = { {} }, {}
  for i, head in ipairs(heads) do
    left[i] = head:sub(1, 1) == "<"
    all[1][i] = left[i] and head:sub(2) or head
  end
  for _, row in ipairs(rows) do
    local cells = {}
    for i = 1, #heads do cells[i] = tostring(row[i]):gsub("%c", "?") end
    all[#all + 1] = cells
  end
  local widths, lines = widths_of(all), {}
  for _, row in ipairs(all) do
    local cells = {}
    for i, cell in ipairs(row) do
      local blank = (" "):rep(widths[i] - columns.width(cell))
      cells[i] = left[i] and cell .. blank or blank .. cell
    end
    lines[#lines + 1] = (table.concat(cells, "  "):gsub(" +$", ""))
  end
  return table.concat(lines, "\n") .. "\n"
end

return columns
