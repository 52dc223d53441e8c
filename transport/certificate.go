package transport

import (
	"net"
	"strconv"
	"strings"
)

// CertificateName returns the name that a certificate has to be valid for to be
// that of the node called node. It is node itself, less a port where node is an
// address, and the brackets of an IPv6 address: "10.0.0.1" for "10.0.0.1:7000". A port
// is a number of up to five digits: "dc1:n1" is a name. Bytes of it that have no place in a
// certificate's DNS name, or a meaning of their own there, are written as in a
// URL: those that are not printable ASCII, the star and the percent sign, as in
// "k%C3%B6ln".
//
// Certificates do not tell upper case from lower, nor a port from another, a dot at the
// end from none, and an IPv4 address from the IPv6 one that stands for it: nodes whose
// names differ in nothing else can stand in for each other.
func CertificateName(node string) string {
	if host, port, err := net.SplitHostPort(node); err == nil && host != "" && isPort(port) {
		node = host
	} else if n := len(node); n > 2 && node[0] == '[' && node[n-1] == ']' && strings.Contains(node, ":") {
		node = node[1 : n-1]
	}
	if strings.IndexFunc(node, unfit) < 0 {
		return node
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(node) {
		if unfit(rune(c)) {
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil && len(s) <= 5
}

func unfit(c rune) bool { return c < ' ' || c > '~' || c == '*' || c == '%' }
