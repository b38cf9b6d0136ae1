package local

import (
	"context"

	"barid/storage"
)

// Health implements storage.Store.
func (s *Store) Health(ctx context.Context) error {
	if s.readOnly.Load() {
		return storage.ErrReadOnly
	}
	return s.room(ctx)
}
