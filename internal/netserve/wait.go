package netserve

import "golang.org/x/sys/unix"

// WaitReadable sleeps until the peer has sent something, hung up, or the
// Pace's Silence ran out (os.ErrDeadlineExceeded), or another goroutine closed
// the connection (net.ErrClosed). It holds no buffer and very little stack.
// Reading is left to the caller; a peer that hung up shows there.
//
// On a connection without a descriptor (net.Pipe) it returns at once.
func (c *Conn) WaitReadable() error {
	if c.r < c.w || !c.descriptor() {
		return nil
	}
	c.beginRead()
	if err := c.raw.Read(readable); err != nil {
		return private(err)
	}
	return nil
}

// readable asks the socket whether a read would wait. To answer false the
// first time without asking would sleep through what came in between the last
// read and this one: the runtime's poller reports only changes, and forgets
// the one before when a wait begins. poll(2) leaves an error of the socket
// where the next read finds it.
func readable(fd uintptr) bool {
	set := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	n, err := unix.Poll(set[:], 0)
	for err == unix.EINTR {
		n, err = unix.Poll(set[:], 0)
	}
	return n != 0 || err != nil
}
