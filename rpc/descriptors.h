/* The descriptors of all protos of this folder, as protoc writes them (a FileDescriptorSet). */
#ifndef FLOTILLA_RPC_DESCRIPTORS_H
#define FLOTILLA_RPC_DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>

extern const uint8_t rpc_descriptor_set[];
extern const size_t rpc_descriptor_set_len;

#endif
