"""A web page that shows what a checkpoint makes of photos; needs the extra ``afa[web]``."""

from afa.apis.web.server import WebOptions, open_socket, serve
