import socket, sys
sys.excepthook = lambda t, e, b: print(sys.argv[1] + ": " + str(e), file=sys.stderr)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].encode() + b"\n")
sys.stdout.buffer.write(b"".join(iter(lambda: s.recv(65536), b"")))
