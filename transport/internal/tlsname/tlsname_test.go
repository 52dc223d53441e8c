package tlsname_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/gridmux/gridmux/transport/internal/tlsname"
)

// TestExpected expects the name of a peer to count before its address, and no
// port to be part of it.
func TestExpected(t *testing.T) {
	for _, c := range []struct{ name, addr, want string }{
		{"n1", "a:1", "n1"},
		{"a:1", "a:1", "a"},
		{"", "a:1", "a"},
		{"[fd00::1]:1", "a:1", "fd00::1"},
		{"10.0.0.1", "", "10.0.0.1"},
		{"köln", "a:1", "k%C3%B6ln"},
		{"", "", ""},
	} {
		if got := tlsname.Expected(c.name, c.addr); got != c.want {
			t.Errorf("name %q, address %q: %q, want %q", c.name, c.addr, got, c.want)
		}
	}
}

// TestCertified expects a name of verified certificates alone.
func TestCertified(t *testing.T) {
	common := &x509.Certificate{Subject: pkix.Name{CommonName: "common"}}
	names := &x509.Certificate{Subject: pkix.Name{CommonName: "common"}, DNSNames: []string{"n1", "n2"}}
	verified := func(c *x509.Certificate) *tls.ConnectionState {
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{c}}}
	}
	for _, c := range []struct {
		state *tls.ConnectionState
		want  string
	}{
		{nil, ""},
		{&tls.ConnectionState{PeerCertificates: []*x509.Certificate{names}}, ""},
		{verified(names), "n1"},
		{verified(common), "common"},
	} {
		if got := tlsname.Certified(c.state); got != c.want {
			t.Errorf("%+v: %q, want %q", c.state, got, c.want)
		}
	}
}
