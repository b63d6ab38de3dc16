/* The plugin's version, in the file's version resource and nowhere else. */
#define PLUGIN_VERSION 0,1,0,0
#define PLUGIN_VERSION_TEXT "0.1.0"
