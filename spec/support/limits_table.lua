--- The table of limits in README.md, made from core/base/limits.def.
--
-- limits.def is C, but of a form that is read here without a compiler: each TG_LIMIT(...) is turned
-- into a call of a Lua function, in which the units KIB(n), SEC(n) and so on are functions too.
-- `make readme` writes the table; spec/readme_spec.lua fails when it is not what limits.def says.

local units = require("tidegate.units")

local limits_table = {}

limits_table.BEGIN = "<!-- limits: made by `make readme` from core/base/limits.def -->\n"
limits_table.END = "<!-- end of limits -->\n"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function scale(factor)
  return function(n)
    return n * factor
  end
end

-- What stands for a value, by the unit of the limit.
local WRITERS = {
  BYTES = units.format_bytes,
  TIME = function(us)
    return units.format_duration(us / 1e6)
  end,
  COUNT = function(n)
    return ("%d"):format(n)
  end,
}

--- The limits in the order of the file: { field, path, unit, used, default, min, max, text } each.
function limits_table.read(path)
  local code = read(path):gsub("/%*.-%*/", ""):gsub("#[^\n]*", ""):gsub('"%s+"', "")
  local list = {}
  local environment = {
    TG_LIMIT = function(field, name, unit, use, default, min, max, text)
      table.insert(list, { field = field, path = name, unit = unit, used = use == "USED", default = default,
                           min = min, max = max, text = text })
    end,
    USED = "USED", SINGLE = "SINGLE",
    BYTES = "BYTES", TIME = "TIME", COUNT = "COUNT", UINT32_MAX = 2 ^ 32 - 1,
    KIB = scale(2 ^ 10), MIB = scale(2 ^ 20), GIB = scale(2 ^ 30), MSEC = scale(1e3), SEC = scale(1e6),
  }
  -- The first argument is the name of a C field: a global that is its own name.
  setmetatable(environment, { __index = function(_, name) return name end })
  setfenv(assert(loadstring(code, "=" .. path)), environment)()
  return list
end

--- The Markdown table, one line a limit.
function limits_table.render(list)
  local lines = { "| limit | default | from, to | what it bounds |", "|---|---|---|---|" }
  for _, limit in ipairs(list) do
    local write = WRITERS[limit.unit]
    table.insert(lines, ("| `%s` | %s | %s, %s | %s |"):format(limit.path, write(limit.default),
      write(limit.min), write(limit.max), limit.text))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- `text` of the README with the table between the two marks replaced by `with`; nil without marks.
function limits_table.replace(text, with)
  local _, first = text:find(limits_table.BEGIN, 1, true)
  local last = first and text:find(limits_table.END, first, true)
  return last and text:sub(1, first) .. with .. text:sub(last)
end

--- What README.md must be.
function limits_table.readme()
  local table_text = limits_table.render(limits_table.read("core/base/limits.def"))
  local readme = limits_table.replace(read("README.md"), table_text)
  return assert(readme, "README.md has lost the marks of the limits")
end

return limits_table
