/* The engine of a node: a process of its own, exec'd by the front end. See node/engine_link.h. */
#ifndef NODE_ENGINE_H
#define NODE_ENGINE_H

/* `arguments` are those after "engine". Returns the process's exit status. */
int engine_main(int count, char **arguments);

#endif
