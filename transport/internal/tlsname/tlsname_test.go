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

// TestPanicsInFunctionsOfTheUser expects a panic in any function of a TLS configuration
// to be an error of the handshake: over QUIC it would end the process.
func TestPanicsInFunctionsOfTheUser(t *testing.T) {
	broken := &tls.Config{
		GetCertificate:        func(*tls.ClientHelloInfo) (*tls.Certificate, error) { panic("broken") },
		GetClientCertificate:  func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { panic("broken") },
		VerifyConnection:      func(tls.ConnectionState) error { panic("broken") },
		VerifyPeerCertificate: func([][]byte, [][]*x509.Certificate) error { panic("broken") },
	}
	source := tlsname.Source{TLS: broken, Adapt: func(*tls.Config) {}}
	client, err := source.Client("n1")
	if err != nil {
		t.Fatal(err)
	}
	server, err := source.Server()
	if err != nil {
		t.Fatal(err)
	}
	choosing := tlsname.Source{Adapt: source.Adapt, TLS: &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("broken") },
	}}
	chooser, err := choosing.Server()
	if err != nil {
		t.Fatal(err)
	}
	asked := tlsname.Source{Adapt: source.Adapt, Get: func() (*tls.Config, error) { panic("broken") }}
	for name, call := range map[string]func() error{
		"GetCertificate":        func() error { _, err := server.GetCertificate(nil); return err },
		"GetClientCertificate":  func() error { _, err := client.GetClientCertificate(nil); return err },
		"VerifyConnection":      func() error { return server.VerifyConnection(tls.ConnectionState{}) },
		"VerifyPeerCertificate": func() error { return client.VerifyPeerCertificate(nil, nil) },
		"GetConfigForClient":    func() error { _, err := chooser.GetConfigForClient(nil); return err },
		"GetTLS, dialling":      func() error { _, err := asked.Client("n1"); return err },
		"GetTLS, listening":     func() error { _, err := asked.Server(); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "panicked: broken") {
			t.Errorf("%s: %v", name, err)
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
