package tlsname_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"net"
	"strings"
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

// TestCertified expects a name of verified certificates alone, and none of those
// that have nothing but a common name.
func TestCertified(t *testing.T) {
	common := &x509.Certificate{Subject: pkix.Name{CommonName: "common"}}
	names := &x509.Certificate{Subject: pkix.Name{CommonName: "common"}, DNSNames: []string{"n1", "n2"}}
	address := &x509.Certificate{Subject: pkix.Name{CommonName: "common"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)}}
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
		{verified(common), ""},
		{verified(address), "10.0.0.1"},
	} {
		if got := tlsname.Certified(c.state); got != c.want {
			t.Errorf("%+v: %q, want %q", c.state, got, c.want)
		}
	}
}

// TestRefused expects an alert about a certificate to say whose it is.
func TestRefused(t *testing.T) {
	for alert, want := range map[string]string{
		"tls: bad certificate":               "refuses the certificate of this node",
		"tls: unknown certificate authority": "refuses the certificate of this node",
		"tls: expired certificate":           "refuses the certificate of this node",
		"tls: certificate required":          "requires a certificate of this node",
		"tls: handshake failure":             "",
	} {
		err := errors.New(alert)
		got := tlsname.Refused(err)
		if !errors.Is(got, err) || !strings.Contains(got.Error(), want) || want == "" && got != err {
			t.Errorf("%s: %v, want it to mention %q", alert, got, want)
		}
	}
}
