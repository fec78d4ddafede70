#include "keeper_channel.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

namespace echo {

ssize_t receive_message(int socket, char* buffer, size_t size, int* fds, int& count) {
  iovec part = {buffer, size};
  alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))];
  msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t length = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  count = 0;
  cmsghdr* header = length < 0 ? nullptr : CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    count = static_cast<int>((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(fds, CMSG_DATA(header), static_cast<size_t>(count) * sizeof(int));
  }
  return length;
}

bool send_to_keeper(int socket, char kind, std::string_view text, const int* fds, int count) {
  iovec parts[2] = {{&kind, 1}, {const_cast<char*>(text.data()), text.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(3 * sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  if (count > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(static_cast<size_t>(count) * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(static_cast<size_t>(count) * sizeof(int));
    memcpy(CMSG_DATA(header), fds, static_cast<size_t>(count) * sizeof(int));
  }
  return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
}

bool receive_from_keeper(int socket, KeeperReply& reply) {
  char buffer[512];
  int fds[3];
  int count = 0;
  ssize_t length = receive_message(socket, buffer, sizeof(buffer), fds, count);
  if (length <= 0) return false;
  reply.kind = buffer[0];
  reply.text.assign(buffer + 1, static_cast<size_t>(length - 1));
  reply.fd = count > 0 ? fds[0] : -1;
  return true;
}

}  // namespace echo
