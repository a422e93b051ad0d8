"""nginx with one worker that answers constants and serves files: `python nginx.py PORT`."""

import os
import sys
from pathlib import Path
from tempfile import mkdtemp

CONFIGURATION = """
{user}
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log /dev/null;
events {{ worker_connections 20000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  sendfile on;
  tcp_nopush on;
  default_type application/octet-stream;
  client_body_temp_path {folder};
  proxy_temp_path {folder};
  fastcgi_temp_path {folder};
  uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location = / {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, world!"; }}
    location ~ ^/user/(.*)$ {{ default_type "text/plain; charset=utf-8"; return 200 "Hello, $1!"; }}
    location /static/ {{ alias {files}/; }}
  }}
}}
"""

folder = mkdtemp(prefix="nginx-", dir=Path(os.environ["BENCH_FILES"]).parent)
file = Path(folder, "nginx.conf")
file.write_text(
    CONFIGURATION.format(
        user="user root;" if os.geteuid() == 0 else "",  # its worker may read the files then
        folder=folder,
        port=sys.argv[1],
        files=os.environ["BENCH_FILES"],
    )
)
os.execvp("nginx", ["nginx", "-p", folder, "-c", str(file)])
