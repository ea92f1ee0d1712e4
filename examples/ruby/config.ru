VERSION = "v1"

run ->(_env) { [200, {"content-type" => "text/plain; charset=utf-8"}, ["hello from Ruby, #{VERSION}\n"]] }
