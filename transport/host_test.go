package transport_test

import (
	"net"
	"testing"

	"github.com/gridmux/gridmux/transport"
)

type addr string

func (addr) Network() string  { return "test" }
func (a addr) String() string { return string(a) }

// TestRemoteHost expects one name for everything that one host can call itself.
func TestRemoteHost(t *testing.T) {
	for a, want := range map[net.Addr]string{
		nil: "",
		&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 9}: "192.0.2.1",
		addr("[::ffff:192.0.2.1]:9"):                      "192.0.2.1",
		addr("[2001:db8:1:2:3:4:5:6]:9"):                  "2001:db8:1:2::/64",
		addr("[2001:db8:1:2::9]:10"):                      "2001:db8:1:2::/64",
		addr("[fe80::1%eth0]:9"):                          "fe80::/64",
		addr("host:9"):                                    "host",
		addr("node-1"):                                    "node-1",
		addr(""):                                          "",
	} {
		if got := transport.RemoteHost(a); got != want {
			t.Errorf("RemoteHost(%v) = %q, want %q", a, got, want)
		}
	}
}
