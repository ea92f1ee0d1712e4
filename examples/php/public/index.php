<?php

const VERSION = "v1";

header("Content-Type: text/plain; charset=utf-8");
echo "hello from PHP, ", VERSION, "\n";
