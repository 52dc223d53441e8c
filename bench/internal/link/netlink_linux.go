package link

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A netlink is a connection to the routing part of the kernel, for the namespace
// in which it was made. What a user namespace allows, it allows only here: the
// older ioctls ask for more.
type netlink struct{ fd int }

// openNetlink returns a connection that also gets what the kernel tells the given
// groups. Those that carry out requests must have none.
func openNetlink(groups uint32) (netlink, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return netlink{}, os.NewSyscallError("netlink: socket", err)
	}
	n := netlink{fd}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		n.close()
		return netlink{}, os.NewSyscallError("netlink: bind", err)
	}
	return n, nil
}

func (n netlink) close() { _ = unix.Close(n.fd) } // nothing is on its way

// up brings a device up. queue and mtu are set unless they are 0.
func (n netlink) up(index, queue, mtu int) error {
	order := binary.NativeEndian
	body := make([]byte, unix.SizeofIfInfomsg)
	order.PutUint32(body[4:], uint32(index))
	order.PutUint32(body[8:], unix.IFF_UP)
	order.PutUint32(body[12:], unix.IFF_UP) // the flags to change
	for kind, value := range map[uint16]int{unix.IFLA_TXQLEN: queue, unix.IFLA_MTU: mtu} {
		if value != 0 {
			body = appendAttribute(body, kind, order.AppendUint32(nil, uint32(value)))
		}
	}
	return n.call(unix.RTM_NEWLINK, 0, body)
}

// address gives a device an address, without looking for another host that has it.
func (n netlink) address(index int, prefix netip.Prefix) error {
	family := byte(unix.AF_INET)
	if prefix.Addr().Is6() {
		family = unix.AF_INET6
	}
	body := []byte{family, byte(prefix.Bits()), unix.IFA_F_NODAD, 0}
	body = binary.NativeEndian.AppendUint32(body, uint32(index))
	body = appendAttribute(body, unix.IFA_LOCAL, prefix.Addr().AsSlice())
	body = appendAttribute(body, unix.IFA_ADDRESS, prefix.Addr().AsSlice())
	return n.call(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, body)
}

// call sends a request and waits for what became of it.
func (n netlink) call(kind, flags uint16, body []byte) error {
	order := binary.NativeEndian
	message := make([]byte, 0, unix.SizeofNlMsghdr+len(body))
	message = order.AppendUint32(message, uint32(unix.SizeofNlMsghdr+len(body)))
	message = order.AppendUint16(message, kind)
	message = order.AppendUint16(message, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	message = append(message, make([]byte, 8)...) // number and sender, of which there is one at a time
	message = append(message, body...)
	if err := unix.Sendto(n.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("netlink: send", err)
	}
	answers, err := n.receive()
	if err != nil {
		return err
	}
	if len(answers) != 1 || answers[0].Header.Type != unix.NLMSG_ERROR || len(answers[0].Data) < 4 {
		return fmt.Errorf("netlink: %v is no answer", answers)
	}
	if errno := -int32(order.Uint32(answers[0].Data)); errno != 0 {
		return os.NewSyscallError("netlink", syscall.Errno(errno))
	}
	return nil
}

// awaitLocal waits until the host takes what is for addr, on a connection that has
// had the group of its routes since before the address was set.
func (n netlink) awaitLocal(addr netip.Addr) error {
	limit := unix.Timeval{Sec: 10}
	if err := unix.SetsockoptTimeval(n.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return os.NewSyscallError("netlink: setsockopt", err)
	}
	for {
		messages, err := n.receive()
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.Header.Type == unix.RTM_NEWROUTE && isLocal(m, addr) {
				return nil
			}
		}
	}
}

// isLocal reports whether a message about a route says that addr is the host's own.
func isLocal(m syscall.NetlinkMessage, addr netip.Addr) bool {
	attributes, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil || m.Data[7] != unix.RTN_LOCAL { // rtm_type
		return false
	}
	for _, a := range attributes {
		if to, ok := netip.AddrFromSlice(a.Value); a.Attr.Type == unix.RTA_DST && ok && to == addr {
			return true
		}
	}
	return false
}

func (n netlink) receive() ([]syscall.NetlinkMessage, error) {
	buf := make([]byte, 8192)
	for {
		size, _, err := unix.Recvfrom(n.fd, buf, 0)
		switch err {
		case nil:
			return syscall.ParseNetlinkMessage(buf[:size])
		case unix.EINTR:
		default:
			return nil, os.NewSyscallError("netlink: receive", err)
		}
	}
}

// appendAttribute appends an attribute, padded to a multiple of four octets.
func appendAttribute(to []byte, kind uint16, value []byte) []byte {
	to = binary.NativeEndian.AppendUint16(to, uint16(unix.SizeofRtAttr+len(value)))
	to = binary.NativeEndian.AppendUint16(to, kind)
	to = append(to, value...)
	return append(to, make([]byte, -len(value)&3)...)
}
