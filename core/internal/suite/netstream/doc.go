// Package netstream has no code but tests: those of streams as net.Conn and
// net.Listener. They are in a package of their own because they need
// golang.org/x/net, whose nettest says what a net.Conn is, and no user of core
// shall get that.
//
// Over each link, net.Conn is held to nettest, to net/http on both sides and to
// crypto/tls; ends, deadlines, limits and misuse have tests of our own.
package netstream
