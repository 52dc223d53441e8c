// Package quic is the transport over QUIC (RFC 9000), on quic-go: encrypted, over
// UDP, with lanes that do not hold one another up when packets are lost, and
// connections that survive a change of the dialler's address. Where no packets are
// lost, websocket is faster.
//
// A node needs certificates, for QUIC knows no plaintext, and otherwise nothing
// but
//
//	core.Config{Transport: quic.New(quic.Options{TLS: cfg})}
//
// The certificate of a peer must be valid for the peer's name. Both ends insist
// on TLS 1.3 and the ALPN name [Protocol]; 0-RTT, which can be replayed, is off.
//
// # Sockets
//
// A node has one UDP socket: it dials from the port that it listens on. Where
// packets cannot get from there to a peer, since the listener is bound to one
// address only, and on a node that does not listen, it dials from a port that the
// system chooses. A socket is closed when its listener and all of its connections
// are; until then its port is free for another Listen of the same [Transport], but
// for nobody else.
//
// The user can bring the socket instead ([Options].PacketConn), or a quic-go
// transport that serves something else, too ([Options].Transport). To share a port
// with HTTP/3, accept the connections and pass ours on:
//
//	t := quic.New(quic.Options{TLS: cfg, Transport: shared, Mounted: true})
//	for {
//		conn, err := listener.Accept(ctx) // of shared, with NextProtos h3 and quic.Protocol
//		if err != nil {
//			break
//		}
//		if conn.ConnectionState().TLS.NegotiatedProtocol == quic.Protocol {
//			go t.ServeConn(conn)
//		} else {
//			go h3.ServeQUICConn(conn)
//		}
//	}
//
// A quic.EarlyListener will do, too; ServeConn waits for the end of the handshake,
// and refuses a connection that has used 0-RTT.
//
// # UDP buffers
//
// quic-go wants receive and send buffers of 7 MiB per socket, since packets that do
// not fit are lost. Linux allows 208 KiB by default, and [Options].Logger gets one
// warning then. As root, on the host, not in a container:
//
//	sysctl -w net.core.rmem_max=7340032 net.core.wmem_max=7340032
//
// quic-go prints a warning of its own with package log; the environment variable
// QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING=true keeps it from that.
//
// # Dialling
//
// A port that is closed is told at once where the host answers with ICMP, which
// Dial learns of from an empty datagram that it sends beside. A peer that says
// nothing at all is given up after 1.5 seconds: where UDP is blocked, and where the
// listener is closed but connections go on over its socket, as those of a node that
// shuts down. The name
// of a host may have several addresses, of IPv4 and IPv6. Once a handshake is over
// the peer still decides about our certificate; Dial waits for that, so that it
// takes two round trips.
//
// # What strangers can hold
//
// A handshake has five seconds. A listener has at most 1,024 connections in it, and
// none of a host gets in that has as many as are left for the others: so one host has
// half of them, and two a third each. An IPv6 network of 64 bits counts as a host.
// From 64 on, clients first have to show that their address is their own (Retry). At
// most 128 connections wait for Accept. Further ones are refused.
//
// Who is through TLS, which with mutual TLS is nobody without a certificate, can
// make this end buffer 768 KiB until the core reads. Sent in single bytes these take
// quic-go a hundred times their size. The window is for all lanes together, so whoever
// accepts lanes has to read all of them; it grows with what is read, to 24 MiB, of
// which the core's own limits leave most unused.
//
// # Restarts
//
// A node that was killed and started again on the same port tells its peers, by a
// stateless reset, as soon as they send something, that their connections are
// gone. It needs the same secret as before for that, by default made of its private
// key, the name of its host and the address that it listens on. Where it has another,
// its peers notice by the keep-alive. Nodes that have all three in common, as in
// network namespaces of one host, should set [Options].StatelessResetKey: otherwise a
// third party that sees the packets can have one node's connections reset by another.
//
// The connections that the node itself had dialled are not covered until their
// peers have changed the identifier of the connection, and end by the keep-alive.
//
// # Path changes
//
// A connection goes on when the address of the node that has dialled it changes:
// another network, or a router in between that has assigned it another port. Its
// peer learns of that by its next datagram. Where that one is lost, and the node
// only waits for an answer, it takes until the core's keep-alive sends something;
// nodes that move are better off with a KeepAlivePeriod of a second or two in
// [Options].Config. quic-go looks after three paths of a connection at a time, and
// forgets one after five seconds. When the address of the node that was dialled
// changes, its peers dial it anew.
//
// # Closing
//
// The close codes and reasons of CloseWithError travel behind the frames, so that
// these arrive first, and the peer has three seconds for reading them. Meanwhile
// the connection and its socket live on in the background. On a node that does not
// listen CloseWithError itself waits for the peer, for at most 20 ms; on one that
// does so no longer for at most 100 ms, and so does Close of a listener: who closes
// everything can then leave the process, or listen again.
//
// # Limits
//
// Frames are up to 64 MiB, and each end may have 256 lanes open.
//
// quic-go finds out how large packets may be, up to 1,452 bytes. If a path later
// takes less and does not say so, the connection is lost, with its time-out or the
// keep-alive of the core, and the next one works. DisablePathMTUDiscovery in
// [Options].Config avoids it: packets then have 1,200 bytes, which costs speed.
package quic
