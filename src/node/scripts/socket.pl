# Needs only `perl-base`, which every Debian has.
use Socket;
socket(S, PF_UNIX, SOCK_STREAM, 0) && connect(S, sockaddr_un($ARGV[0])) or die "$ARGV[0]: $!\n";
syswrite(S, "$ARGV[1]\n") or die "$ARGV[0]: $!\n";
while ($n = sysread(S, $b, 65536)) { print $b } defined $n or die "$ARGV[0]: $!\n";
