package transport_test

import (
	"testing"

	"github.com/gridmux/gridmux/transport"
)

// TestCertificateName expects names as they are where a certificate can have
// them, and two nodes never to share one that could be told apart.
func TestCertificateName(t *testing.T) {
	seen := map[string]string{}
	for _, c := range []struct{ node, want string }{
		{"n1", "n1"},
		{"N1", "N1"},
		{"a:1", "a"},
		{"node_1", "node_1"},
		{"rack 3/node 1", "rack 3/node 1"},
		{"10.0.0.1:7000", "10.0.0.1"},
		{"[fd00::1]:7000", "fd00::1"},
		{"::1", "::1"},
		{"[fd00::2]", "fd00::2"},
		{"[x]", "[x]"},
		{"dc1:n1", "dc1:n1"},
		{"dc1:n2", "dc1:n2"},
		{"dc1:", "dc1:"},
		{"dc2:70000", "dc2:70000"},
		{"dc2:007000", "dc2:007000"},
		{":7000", ":7000"},
		{"köln", "k%C3%B6ln"},
		{"k%C3%B6ln", "k%25C3%25B6ln"},
		{"*.grid", "%2A.grid"},
		{"a\x00b", "a%00b"},
		{"a\x7fb", "a%7Fb"},
		{"", ""},
	} {
		got := transport.CertificateName(c.node)
		if got != c.want {
			t.Errorf("node %q: %q, want %q", c.node, got, c.want)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("nodes %q and %q are both %q", c.node, other, got)
		}
		seen[got] = c.node
	}
}
