package local

// Remembered gives what is known of passwords that were found right, for a
// process that takes over from this one, so that its clients do not all cost
// a hash at once. It holds no password, but who has it and an account's hash
// can try passwords cheaply: it must not be written to a disk.
func (s *Store) Remembered() []byte { return s.passwords.export() }

// export gives the key and the tags, the older ones first.
func (c *passwordCache) export() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]byte, 0, len(c.key)+(len(c.old)+len(c.young))*tagSize)
	out = append(out, c.key[:]...)
	for tag := range c.old {
		out = append(out, tag[:]...)
	}
	for tag := range c.young {
		out = append(out, tag[:]...)
	}
	return out
}

const tagSize = 16

// take begins with what export gave; anything else is nothing.
func (c *passwordCache) take(text []byte) {
	if len(text) < len(c.key) || (len(text)-len(c.key))%tagSize != 0 {
		return
	}
	copy(c.key[:], text)
	for rest := text[len(c.key):]; len(rest) > 0; rest = rest[tagSize:] {
		c.keep([tagSize]byte(rest))
	}
}
