# What TestOutsideTruth measures a link with: sockets of another language, which
# the test hands over as descriptor 3. It prints one line.
use strict;
use warnings;
use Time::HiRes qw(time sleep);

my ($does, $network, @rest) = @ARGV;
open(my $socket, '+<&=', 3) or die "descriptor 3: $!";
alarm 60;

if ($does eq 'echo') {
    if ($network eq 'tcp') {
        accept(my $c, $socket) or die "accept: $!";
        while (sysread($c, my $buf, 65536)) {
            syswrite($c, $buf);
        }
    } else {
        while (defined(my $peer = recv($socket, my $buf, 65536, 0))) {
            send($socket, $buf, 0, $peer);
        }
    }
} elsif ($does eq 'ask') {
    # The least of the times that echoes take, in seconds.
    my ($rounds) = @rest;
    my $least;
    for (1 .. $rounds) {
        my $began = time;
        syswrite($socket, 'echo');
        sysread($socket, my $buf, 4);
        my $took = time - $began;
        $least = $took if !defined $least || $took < $least;
    }
    print "$least\n";
} elsif ($does eq 'send') {
    # So many messages of that size, with so many seconds after each batch.
    my ($count, $size, $batch, $pause) = @rest;
    for my $i (1 .. $count) {
        syswrite($socket, pack('N', $i) . 'x' x ($size - 4));
        sleep($pause) if $batch && $i % $batch == 0;
    }
} elsif ($does eq 'take') {
    # How many reads there were, and the median of the octets in each quarter of a second,
    # until nothing arrives for a second.
    my $c = $socket;
    if ($network eq 'tcp') {
        accept($c, $socket) or die "accept: $!";
    }
    my ($reads, $octets, $began, @quarters) = (0, 0);
    my $bits = '';
    vec($bits, fileno($c), 1) = 1;
    while (select(my $ready = $bits, undef, undef, $reads ? 1 : 30)) {
        my $n = sysread($c, my $buf, 65536);
        last unless $n;
        $reads++;
        my $now = time;
        if (!defined $began) {
            $began = $now;
            next;
        }
        $octets += $n;
        if ($now - $began >= 0.25) {
            push @quarters, $octets / ($now - $began);
            ($octets, $began) = (0, $now);
        }
    }
    @quarters = sort { $a <=> $b } @quarters;
    print "$reads ", (@quarters ? $quarters[$#quarters / 2] : 0), "\n";
}
