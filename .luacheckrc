std = "luajit"
max_line_length = 110
codes = true
files["spec/**/*_spec.lua"] = { std = "luajit+busted" }
files["lua/tidegate/test/**"] = { std = "luajit+busted" }
